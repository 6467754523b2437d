"""The law of loss of a sweep as a table: parameters, what follows from them, how good it is, and what it got wrong."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from switchbench import units
from switchbench.caveats import OF_WALL_CLOCK, Caveat, in_order
from switchbench.compare import Configuration
from switchbench.compare.configurations import mixture_caveats
from switchbench.fitting import SweepFit, backtest_words, fit_sweep
from switchbench.record import RunRecord
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.store import SweepFolder
from switchbench.units import UNKNOWN

_DERIVED = {
    "n_eff_over_n": "N_eff/N",
    "dense_equivalent_params": "dense-equivalent params",
    "crossover_params": "experts stop paying at N",
    "prediction": "predicted nll",
}
"""What follows from a law, in the order of the rows; compute multipliers of its laws are N_eff/N again."""
_GOODNESS = (
    ("rms_ln", "rms of ln nll"),
    ("seed_sd_ln", "sd of ln nll between seeds"),
    ("leave_one_size_out_rms_ln", "rms of ln nll, each size held out"),
    ("hold_out_rms_ln", "rms of ln nll, largest size held out"),
    ("hold_out_mean_ln", "its mean error (+: predicted too high)"),
    ("aicc", "AICc"),
    ("r2", "R²"),
)
"""How good a law is, in the order of the rows: on what it has not seen first, R² last."""
_OWN = (Caveat.UNIDENTIFIED, Caveat.AT_BOUND)
"""Caveats of single parameters, which a whole fit lists as well."""
SHORT_STEPS = 50
"""Optimizer steps below which the loss of a run is that of a beginning, on its way down from the logarithm of the
vocabulary: it depends on how fast learning starts, and hardly on the size."""
_METHODS = {
    "percentile": "percentiles of a bootstrap",
    "cluster_t": "cluster-robust, Student's t",
    "jackknife_t": "jackknife, Student's t",
}


def fit_law_of(folder: SweepFolder, configurations: Sequence[Configuration]) -> SweepFit:
    """Fit the law that the annealed points of a sweep allow, or take it from what is stored.

    Args:
        folder: The sweep's folder.
        configurations: All configurations of the sweep.
    """
    return fit_sweep(folder, list(_rows(configurations)))


def fits_table(found: SweepFit) -> Table | None:
    """Build the table of a sweep's law; None where none could be fitted.

    Args:
        found: The law.
    """
    answer = found.answer
    if answer is None:
        return None
    whole = [
        *(code for code in answer["caveats"] if code not in _OWN),
        *(code for code in mixture_caveats(found.rows) if code != Caveat.MIXED_MACHINES),
        *(code for row in found.rows for code in row.caveats if code not in OF_WALL_CLOCK),
        *([Caveat.VARYING_SETTINGS] if _has_other_differences(found.rows) else []),
    ]
    columns = (
        Column(key="quantity", header="quantity", is_label=True),
        Column(key="n", header="N", unit="parameter"),
        Column(key="num_experts", header="experts"),
        Column(key="d", header="tokens", unit="token"),
        Column(key="value", header="value"),
        Column(key="unit", header="unit"),
    )
    return Table(
        key="fits",
        title=f"Law of loss: {answer['formula']}",
        columns=columns,
        rows=(
            *_parameters(answer, whole=whole),
            *_derived(answer, whole=whole),
            *_goodness(answer, whole=whole),
        ),
        notes=tuple(_notes(found, answer)),
    )


def _rows(configurations: Sequence[Configuration]) -> Iterator[RunRecord]:
    for configuration in configurations:
        for seed, end in configuration.ends.items():
            yield from configuration.earlier.get(seed, ())
            yield end


def _has_other_differences(rows: Sequence[RunRecord]) -> bool:
    """Whether models that are alike to a law differ in something that the sweep varies."""
    configs: dict[tuple[float, ...], set[str]] = {}
    for row in rows:
        place = (float(row.params_active), float(row.num_experts), float(row.tokens_seen or 0))
        configs.setdefault(place, set()).add(row.config_id)
    return any(len(ids) > 1 for ids in configs.values())


def _parameters(answer: Mapping[str, Any], *, whole: Sequence[str]) -> Iterator[Row]:
    for i, (name, each) in enumerate(answer["parameters"].items()):
        yield _row(name, each, whole=whole, text=_number, starts_group=i == 0)


def _derived(answer: Mapping[str, Any], *, whole: Sequence[str]) -> Iterator[Row]:
    for measure, title in _DERIVED.items():
        for i, each in enumerate(answer["derived"].get(measure, ())):
            text = units.count if each["unit"] == "parameters" else _number
            yield _row(title, each, whole=whole, text=text, starts_group=i == 0)


def _goodness(answer: Mapping[str, Any], *, whole: Sequence[str]) -> Iterator[Row]:
    goodness = answer["goodness"]
    held = goodness["hold_out"] or {}
    known = goodness | {"hold_out_rms_ln": held.get("rms_ln"), "hold_out_mean_ln": held.get("mean_ln")}
    for i, (key, title) in enumerate(_GOODNESS):
        value = known[key]
        if value is not None:
            text = f"{value:+.4f}" if key == "hold_out_mean_ln" else _number(value)
            cell = Cell(text=text, value=value, caveats=in_order(whole))
            place = (_place(None), _place(None), _place(None))
            yield Row(
                config_id=None, cells=(Cell(text=title, value=key), *place, cell, Cell(text="")), starts_group=i == 0
            )


def _row(
    name: str,
    each: Mapping[str, Any],
    *,
    whole: Sequence[str],
    text: Callable[[float], str],
    starts_group: bool,
) -> Row:
    value, ci95 = each["value"], each["ci95"]
    shown = UNKNOWN if value is None else text(value)
    if value is not None and ci95 is not None:
        shown += f" [{text(ci95[0])}, {text(ci95[1])}]"
    cell = Cell(
        text=shown,
        value=value,
        ci95=None if ci95 is None else (ci95[0], ci95[1]),
        caveats=in_order([*whole, *each["caveats"]]),
    )
    place = [_place(each.get(key)) for key in ("n", "e", "d")]
    unit = each["unit"] if each["unit"] != "1" else ""
    return Row(
        config_id=None, cells=(Cell(text=name, value=name), *place, cell, Cell(text=unit)), starts_group=starts_group
    )


def _place(value: float | None) -> Cell:
    if value is None:
        return Cell(text=UNKNOWN)
    return Cell(text=f"{value:g}" if value < 1000 else units.count(value), value=value)


def _number(value: float) -> str:
    return units.significant(value, digits=4) if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3g}"


def _notes(found: SweepFit, answer: Mapping[str, Any]) -> Iterator[str]:
    rows, intervals = answer["rows"], answer["intervals"]
    where = f" where {rows['where']}" if rows["where"] else ""
    left_out = "; ".join(f"{each['count']} ({each['reason']})" for each in rows["left_out"])
    left_out = f". Left out: {left_out}" if left_out else ""
    yield (
        f"{found.reason}; fitted to {rows['used']} annealed points of {rows['read']}{where}{left_out}. N counts the "
        "matmul parameters that a token meets, router and output projection in, embedding lookup out."
    )
    steps = [row.step for row in found.rows if row.step is not None]
    if steps and min(steps) < SHORT_STEPS:
        some = "These" if max(steps) < SHORT_STEPS else "Some of these"
        yield (
            f"{some} are runs of {min(steps)} steps and more: in the first {SHORT_STEPS} the loss tells how fast "
            "learning starts, not what a size is good for. Do not extrapolate from them."
        )
    method = f"{_METHODS[intervals['method']]}, over {intervals['groups']} groups"
    yield f"[ ] is a 95% interval: {method} ({intervals['reason']})."
    held = answer["goodness"]["hold_out"]
    if held and held["gains"]:
        gains = ", ".join(
            f"{gain['e']:g} experts {gain['predicted']:.3f} ({gain['observed']:.3f})" for gain in held["gains"]
        )
        yield f"Gains over dense at the largest size in nats, predicted without it (observed): {gains}."
    yield backtest_words(answer["backtest"])
