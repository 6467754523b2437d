"""How cost grows with total parameters: the table of exponents, and in words what they say about sparse models."""

from collections.abc import Sequence

from switchbench import units
from switchbench.compare import Scaling, ScalingCost, ScalingGroup
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.units import UNKNOWN

_GROUPS: dict[ScalingGroup, str] = {
    "dense_by_size": "dense, by size",
    "sparse_by_experts": "sparse, by experts",
    "sparse_all": "sparse, all",
}
_COSTS: dict[ScalingCost, tuple[str, str]] = {
    "useful_train_flops_per_token": ("FLOPs\nper token", "FLOPs per token"),
    "step_time_s": ("step\ntime", "step time"),
    "peak_memory_bytes": ("peak\nmemory", "peak memory"),
    "training_state_bytes": ("training\nstate", "the training state"),
}
"""The costs of the table, with what stands above them and what they are called in a sentence."""
_MEMORY: tuple[ScalingCost, ScalingCost] = ("peak_memory_bytes", "training_state_bytes")
_SUBJECTS: dict[ScalingGroup, str] = {
    "sparse_by_experts": "With more experts at the same shape",
    "dense_by_size": "With larger dense models",
}
"""The groups that are told in words."""
_SAME = 0.005
"""What is closer than this to 1 is printed as 1."""


def scaling_table(scaling: Sequence[Scaling]) -> Table | None:
    """Build the table of exponents; None where there are too few models of different size for any.

    Args:
        scaling: All exponents of a sweep.
    """
    if all(each.exponent is None for each in scaling):
        return None
    shown = {group: [each for each in scaling if each.group == group and each.cost in _COSTS] for group in _GROUPS}
    columns = (
        Column(key="models", header="models", is_label=True),
        Column(key="configurations", header="points"),
        Column(key="n_min", header="params\nfrom", unit="parameter"),
        Column(key="n_max", header="params\nto", unit="parameter"),
        *(Column(key=cost, header=header) for cost, (header, _) in _COSTS.items()),
    )
    rows = tuple(
        Row(config_id=None, cells=(*_labels(group, each), *map(_exponent_cell, each)), starts_group=i == 0)
        for i, (group, each) in enumerate((group, each) for group, each in shown.items() if each)
    )
    return Table(
        key="scaling",
        title="How cost grows with total parameters (exponent: 1 in proportion, 0 not at all)",
        columns=columns,
        rows=rows,
        notes=tuple(_claims(shown)),
    )


def how_to_read(scaling: Sequence[Scaling]) -> str:
    """Say how the exponents came about; where there are none, what they take.

    Args:
        scaling: All exponents of a sweep.
    """
    if all(each.exponent is None for each in scaling):
        return (
            "How cost grows with total parameters is not fitted: that takes three sizes of a dense model, or three "
            "numbers of experts at the same shape."
        )
    text = (
        "Exponents are p of cost = c · N^p, N all parameters, by least squares in logarithms; their [ ] is a 95% "
        "interval from the scatter about the line. FLOPs and the training state (weights, gradients, AdamW's moments) "
        "are arithmetic: there it is no noise, but how far growth is from a power law. A model's cost is the mean over "
        "its runs; models that differ in more than what grows share p, but not c."
    )
    if any(each.group == "sparse_all" for each in scaling):
        text += " The exponents of all sparse models depend on how the sweep combines shapes with experts."
    return text


def _labels(group: ScalingGroup, scaling: Sequence[Scaling]) -> tuple[Cell, ...]:
    """The models of a row, those with parameters alone to know: every model has its training state."""
    state = next(each for each in scaling if each.cost == "training_state_bytes")
    return (
        Cell(text=_GROUPS[group], value=group),
        Cell(text=str(state.configurations), value=state.configurations),
        Cell(text=units.count(state.n_min), value=state.n_min),
        Cell(text=units.count(state.n_max), value=state.n_max),
    )


def _exponent_cell(scaling: Scaling) -> Cell:
    if scaling.exponent is None:
        return Cell(text=UNKNOWN, caveats=scaling.caveats)
    return Cell(text=_exponent_text(scaling), value=scaling.exponent, ci95=scaling.ci95, caveats=scaling.caveats)


def _exponent_text(scaling: Scaling) -> str:
    assert scaling.exponent is not None
    assert scaling.ci95 is not None
    return f"{_decimal(scaling.exponent)} [{_decimal(scaling.ci95[0])}, {_decimal(scaling.ci95[1])}]"


def _decimal(value: float) -> str:
    """Two decimals, and no ``-0.00``.

    >>> _decimal(0.126), _decimal(-0.001)
    ('0.13', '0.00')
    """
    return f"{round(value, 2) + 0.0:.2f}"


def _claims(shown: dict[ScalingGroup, list[Scaling]]) -> list[str]:
    """What the exponents say about the claim that a sparse model's cost grows sub-linearly with its size."""
    claims = []
    for group, subject in _SUBJECTS.items():
        fitted = [each for each in shown[group] if each.exponent is not None]
        memory = _memory_in_words(shown[group]) if group == "sparse_by_experts" else None
        if memory is not None:
            fitted = [each for each in fitted if each.cost != "peak_memory_bytes"]
        if fitted:
            claims.append(" ".join([f"{subject} {_outcomes(fitted)}.", *([memory] if memory else [])]))
    return claims


def _outcomes(fitted: Sequence[Scaling]) -> str:
    costs_of: dict[str, list[ScalingCost]] = {}
    for each in fitted:
        costs_of.setdefault(_outcome(each), []).append(each.cost)
    parts = []
    for outcome, costs in costs_of.items():
        names = [_COSTS[cost][1] for cost in costs]
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        verb = "grow" if len(costs) > 1 or costs == ["useful_train_flops_per_token"] else "grows"
        parts.append(outcome.format(listed, verb))
    return "; ".join(parts)


def _outcome(scaling: Scaling) -> str:
    """How a cost grows as far as its interval tells, with room for the costs and the verb."""
    assert scaling.ci95 is not None
    low, high = scaling.ci95
    if low > 1 - _SAME and high < 1 + _SAME:
        return "{} {} in proportion to the parameters, not sub-linearly"
    if low > 1:
        return "{} {} faster than in proportion to the parameters"
    if high >= 1:
        return "whether {} {} sub-linearly is not decided"
    if low <= 0:
        return "{} {} sub-linearly, if at all"
    return "{} {} sub-linearly"


def _memory_in_words(scaling: Sequence[Scaling]) -> str | None:
    """What experts cost in memory, where its exponent is below 1 for what was there to begin with; None elsewhere.

    Constant memory beside some that grows in proportion gives any exponent between 0 and 1; what a further parameter
    adds tells that from memory that really grows ever more slowly.
    """
    peak, state = (next((each for each in scaling if each.cost == cost), None) for cost in _MEMORY)
    if peak is None or state is None or peak.exponent is None or peak.exponent >= 1:
        return None
    added, needed = peak.per_added_param, state.per_added_param
    if added is None or needed is None or added < needed / 2:
        return None
    return (
        f"Nor does peak memory grow sub-linearly, although its exponent is {_decimal(peak.exponent)}: each further "
        f"parameter took {units.significant(added)} bytes at the peak, where its weight, its gradient and the "
        f"optimizer's two numbers are {needed:.0f}. The exponent is below 1 for what does not grow with experts, such "
        "as activations."
    )
