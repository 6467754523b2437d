"""The table of controls: pairs whose outcome is known beforehand, and whether it came out."""

from collections.abc import Sequence
from typing import Any

from switchbench.compare import Configuration, ControlResult
from switchbench.report.aggregates import describe_all
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.report.verdicts import p_phrase, p_text, share_text
from switchbench.units import UNKNOWN

_COLUMNS = (
    Column(key="control", header="control", is_label=True),
    Column(key="a", header="a", is_label=True),
    Column(key="b", header="b", is_label=True),
    Column(key="delta_nll", header="nll of a\nless b", unit="nats/token"),
    Column(key="p_holm", header="p"),
    Column(key="resolvable", header="resolv-\nable", unit="nats/token"),
    Column(key="verdict", header="verdict"),
    Column(key="expected", header="expected"),
    Column(key="came_out", header="came\nout"),
)
_EXPECTED = {"none": "neither better", "a": "a better", "b": "b better", None: UNKNOWN}
_CAME_OUT = {True: "yes", False: "no", None: UNKNOWN}


def controls_table(
    results: Sequence[ControlResult], *, configurations: Sequence[Configuration], min_effect: float
) -> Table | None:
    """Draw the controls of a sweep; None where it has none.

    Args:
        results: What came of them.
        configurations: All configurations of the sweep.
        min_effect: The smallest difference that matters, as a share of the nll of b.
    """
    if not results:
        return None
    run = {each.config_id: each for each in configurations if each.ends}
    named = [run[side] for result in results for side in (result.a, result.b) if side in run]
    words = describe_all(named, among=list(run.values()))
    rows = []
    for result in results:
        sides = [words.get(side, "not run yet") for side in (result.a, result.b)]
        cells = (
            Cell(text=result.name, value=result.name),
            *(Cell(text=text, value=text) for text in sides),
            _difference_cell(result),
            Cell(text=UNKNOWN if result.p_holm is None else p_text(result.p_holm), value=result.p_holm),
            Cell(text=UNKNOWN if result.resolvable is None else f"{result.resolvable:.3f}", value=result.resolvable),
            Cell(text=result.verdict or UNKNOWN, value=result.verdict),
            Cell(text=_EXPECTED[result.expected], value=result.expected),
            Cell(text=_CAME_OUT[result.came_out], value=_CAME_OUT[result.came_out]),
        )
        rows.append(Row(config_id=None, cells=cells))
    return Table(
        key="controls",
        title=f"Controls, at {share_text(results[0].confidence)} confidence",
        columns=_COLUMNS,
        rows=tuple(rows),
        notes=(_how_to_read(results, min_effect=min_effect),),
    )


def controls_sentence(results: Sequence[ControlResult]) -> str:
    """Say whether the controls came out, and what it means for the sweep where one did not; empty: nothing is known.

    Args:
        results: What came of them.
    """
    failed = [result for result in results if result.came_out is False]
    if not failed:
        known = [result for result in results if result.came_out]
        if len(known) < len(results) or not known:
            return ""
        return "Its only control came out." if len(known) == 1 else f"All of its {len(known)} controls came out."
    return " ".join(_failure(result) for result in failed)


def control_json(result: ControlResult) -> dict[str, Any]:
    """Give what came of a control as plain values.

    Returns:
        ``name``; ``a``, ``b``: the configurations; ``value``, ``interval`` at ``confidence``, ``ci95``, ``is_paired``,
        ``p_value``, ``p_holm`` and ``resolvable`` of the nll of a less that of b; ``verdict``; ``expected``;
        ``came_out``; ``caveats``. See ``ControlResult``.
    """
    return {
        "name": result.name,
        "a": result.a,
        "b": result.b,
        "value": result.value,
        "interval": result.interval,
        "confidence": result.confidence,
        "ci95": result.ci95,
        "is_paired": result.is_paired,
        "p_value": result.p_value,
        "p_holm": result.p_holm,
        "resolvable": result.resolvable,
        "verdict": result.verdict,
        "expected": result.expected,
        "came_out": result.came_out,
        "caveats": list(result.caveats),
    }


def _difference_cell(result: ControlResult) -> Cell:
    if result.value is None:
        return Cell(text=UNKNOWN, caveats=result.caveats)
    half_width = "" if result.interval is None else f" [±{(result.interval[1] - result.interval[0]) / 2:.3f}]"
    return Cell(text=f"{result.value:+.3f}{half_width}", value=result.value, ci95=result.ci95, caveats=result.caveats)


def _failure(result: ControlResult) -> str:
    start = f"Control {result.name!r} failed: "
    p_value = "" if result.p_holm is None else f" ({p_phrase(result.p_holm)})"
    better = None if result.verdict is None else result.verdict.partition(" better")[0]
    by = "" if result.value is None else f" by {abs(result.value):.3f} nats"
    if result.expected == "none":
        return (
            f"{start}neither side was to be better, and {better} is{by}{p_value}. Either more than noise differs "
            "between the two, or the noise is larger than it is taken to be: distrust the other verdicts."
        )
    found = f"it is {better}" if better in ("equivalent", "unresolved") else f"{better} is{by}"
    return f"{start}{result.expected} was to be better, and {found}{p_value}: the sweep does not tell what it should."


def _how_to_read(results: Sequence[ControlResult], *, min_effect: float) -> str:
    corrected = ", corrected for the number of controls (Holm)" if len(results) > 1 else ""
    sentences = [
        f"p: of no difference{corrected}; equivalent: the interval is within {share_text(min_effect)} of the nll of b; "
        "resolvable: what would have been told in four of five sweeps like this."
    ]
    if not all(result.is_paired for result in results if result.value is not None):
        sentences.append(
            "Repetitions share no random numbers, so that between them no seed's effect drops out: there the noise is "
            "that of runs of one configuration, otherwise what is left of it beside the seed."
        )
    return " ".join(sentences)
