"""What a file says of tuning: ``sweep.tune``, axes that are minimised over, and ``sweep.tune_seeds``."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from switchbench.spec import RunSpec
from switchbench.sweep.axes import Axis, axis_values, is_field
from switchbench.sweep.document import BROKEN, Entry, Node, describe, has_broken, plain
from switchbench.sweep.entries import as_written, items_of
from switchbench.sweep.fields import SEED
from switchbench.sweep.formulas import Formula
from switchbench.sweep.grids import first_grids, lacking
from switchbench.sweep.names import path_of
from switchbench.sweep.pair import ReportSettings
from switchbench.sweep.source import Findings, Place
from switchbench.sweep.values import check_value

TUNABLE = (
    "train.learning_rate", "train.warmup_fraction", "train.betas", "train.adam_epsilon", "train.weight_decay",
    "train.gradient_clip", "model.init_scale", "model.ffn.aux_loss_weight", "model.ffn.balance_bias_rate",
    "model.ffn.router_z_loss_weight", "model.ffn.router_jitter", "model.ffn.expert_dropout",
    "model.ffn.router_init_scale",
)  # fmt: skip
"""Fields that decide how well a run learns, but neither what it costs nor what is measured: where those differ, a
lower nll is no better choice."""
FIRST_TUNE_SEED = 1000
"""The seed of the tries where the file names none, unless it is reported; then the next that is not."""


@dataclass(frozen=True, kw_only=True)
class TuneAxis:
    """A field that is tuned."""

    path: str
    """The field."""
    place: Place
    """Where its key stands."""
    values: tuple[Node, ...]
    """The values to try, in the order of the file."""


def read_tune(entry: Entry | None, *, axes: Sequence[Axis], doubtful: set[str], findings: Findings) -> list[TuneAxis]:
    """Read ``sweep.tune``: a mapping of fields to lists of at least two values.

    Args:
        entry: The entry, if there is one.
        axes: The axes of the sweep, none of whose fields can be tuned as well.
        doubtful: Takes the fields whose value is unknown since something is wrong with it.
        findings: Takes the problems.
    """
    if entry is None:
        return []
    if not isinstance(entry.node.value, dict):
        if entry.node.value is not BROKEN:
            message = "sweep.tune must be a mapping of fields to values, such as {train.learning_rate: [5e-3, 1e-2]}"
            findings.add(entry.node.place, f"{message}, got {describe(entry.node)}")
        doubtful.update(TUNABLE)
        return []
    tuned = []
    for path, each in entry.node.value.items():
        if not is_field(path, each.place, doubtful=doubtful, findings=findings):
            continue
        if path not in TUNABLE:
            message = f"{path} cannot be tuned: it changes what a run costs, what is measured, or what is compared"
            findings.add(each.place, f"{message}. Allowed: {', '.join(TUNABLE)}")
            continue
        if any(path in axis.places for axis in axes):
            findings.add(each.place, f"{path} is an axis as well; it is either compared along or tuned")
            continue
        before = len(findings)
        values = axis_values(path, each.node, doubtful=doubtful, findings=findings)
        if len(values) == 1 and len(findings) == before:
            message = f"{path}: tuning takes at least two values; one that is the same for all stands in base"
            findings.add(each.node.place, message)
        if len(values) > 1:
            tuned.append(TuneAxis(path=path, place=each.place, values=tuple(values)))
    return tuned


def read_tune_seeds(
    entry: Entry | None, *, tune: Entry | None, seeds: Sequence[int], findings: Findings
) -> tuple[int, ...]:
    """Read ``sweep.tune_seeds``: seeds of the tries, none of which is reported.

    Args:
        entry: The entry, if there is one.
        tune: That of ``sweep.tune``.
        seeds: The seeds that are reported.
        findings: Takes the problems.
    """
    if entry is None:
        return (next(seed for seed in itertools.count(FIRST_TUNE_SEED) if seed not in seeds),)
    if tune is None or tune.node.value == {}:
        findings.add(entry.place, "sweep.tune_seeds does nothing: nothing is tuned, since there is no sweep.tune")
    found: dict[int, None] = {}
    items = items_of(entry.node, label="sweep.tune_seeds", what="it", example="[1000]", findings=findings)
    for item in items or []:
        if has_broken(item) or not check_value(SEED, item, label="sweep.tune_seeds: a seed", findings=findings):
            continue
        seed = plain(item)
        if seed in found:
            findings.add(item.place, f"sweep.tune_seeds has the seed {as_written(item)} twice")
        elif seed in seeds:
            message = f"sweep.tune_seeds has the seed {as_written(item)}, which sweep.seeds reports"
            findings.add(item.place, f"{message}: a choice made on reported seeds would flatter the chosen value")
        found[seed] = None
    return tuple(found)


def check_formulas(
    tune: Sequence[TuneAxis], formulas: Iterable[Formula], *, derive: Iterable[str], findings: Findings
) -> None:
    """Check that nothing that decides which cells there are speaks of what is only known after tuning.

    Args:
        tune: What is tuned.
        formulas: The expressions of derived values and constraints.
        derive: The fields that are derived.
        findings: Takes the problems.
    """
    tuned = {axis.path: axis for axis in tune}
    for path in tuned.keys() & set(derive):
        findings.add(tuned[path].place, f"{path} is derived; leave the derived value or the tuning out")
    for formula in formulas:
        for name, column in formula.expression.names.items():
            if path_of(name) in tuned:
                findings.add(formula.place(column), f"{name} is tuned: it has no value yet when cells are made")


def check_conditions(tune: Sequence[TuneAxis], axes: Sequence[Axis], *, findings: Findings) -> None:
    """Check that no axis depends on what is only known after tuning; as :func:`check_formulas`."""
    for axis in axes:
        for tuned in tune:
            if tuned.path in axis.when:
                findings.add(
                    axis.when_places[tuned.path], f"{axis.name}: when cannot ask for {tuned.path}: it is tuned"
                )


def check_named(tune: Sequence[TuneAxis], report: ReportSettings, *, findings: Findings) -> None:
    """Check that no configuration is named by what is only known after tuning; as :func:`check_formulas`."""
    named = [] if report.primary is None else [("report.primary", report.primary.sparse)]
    named += [(control.label, values) for control in report.controls for values in (control.a, control.b)]
    for label, values in named:
        for tuned in tune:
            if tuned.path in values:
                findings.add(values[tuned.path].place, f"{label}: {tuned.path} is tuned; name it by an axis")


def check_equal_tries(tune: Sequence[TuneAxis], specs: Iterable[RunSpec], *, findings: Findings) -> None:
    """Check that dense configurations can be tried as often as sparse ones, whose fields alone are tuned as well.

    Args:
        tune: What is tuned.
        specs: All configurations, dense twins included.
        findings: Takes the problems.
    """
    specs = list(specs)
    grid = {axis.path: [plain(node) for node in axis.values] for axis in tune}
    if first_grids(grid, specs) is not None:
        return
    for axis in tune:
        if axis.path not in lacking(grid, {spec.model.ffn.kind for spec in specs}):
            continue
        message = (
            f"{axis.path} is no field of dense configurations, which this sweep has as well. Those get as many tries "
            "as sparse ones by more values of another tuned field: one that both have, whose values are numbers"
        )
        remedy = "tune such a one too, for example train.learning_rate: [5e-3, 1e-2, 2e-2]"
        findings.add(axis.place, f"{message}, and there is none here; {remedy}")
