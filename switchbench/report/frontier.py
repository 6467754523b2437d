"""The table of the best under a budget, dense against sparse, and what is said of where the two cross."""

import itertools
import math
from collections.abc import Callable, Sequence

from switchbench import units
from switchbench.caveats import Caveat
from switchbench.compare import (
    BestUnderBudget,
    Budget,
    Choice,
    Configuration,
    Frontier,
    Pool,
    Resource,
    best_under,
    common_range,
    least_of,
    reaches_of,
)
from switchbench.compare.pool import Member
from switchbench.report.aggregates import describe, describe_all
from switchbench.report.elements import Cell, Column, Row, Table
from switchbench.units import UNKNOWN

NAMES: dict[Resource, str] = {
    "provisioned_train_flops": "provisioned FLOPs",
    "executed_train_flops": "executed FLOPs",
    "train_time_s": "training time",
    "peak_memory_bytes": "peak memory",
}
"""Resources in words."""
_FORMATS: dict[Resource, Callable[[float], str]] = {
    "provisioned_train_flops": units.flops,
    "executed_train_flops": units.flops,
    "train_time_s": units.duration,
    "peak_memory_bytes": units.size,
}
_HOW_TO_READ = (
    "The best of all configurations within a budget: between annealed points nll is interpolated over the logarithm of "
    "the cost, a run that ends before has the quality of its end. Training time is steps times the exclusive step "
    "time, peak memory the largest of the seeds, at whatever tokens."
)
_CROSS_FITTED = (
    "The best of several is lucky, too. So here every seed scores what the other seeds pick; where the frontiers cross "
    "is read off means over all seeds."
)


def frontier_table(
    frontiers: Sequence[Frontier], pool: Pool, *, among: Sequence[Configuration], sweep: str
) -> Table | None:
    """Compare the best of both sides at a few round budgets of each resource; None where there is none to compare.

    Args:
        frontiers: Where which side is better.
        pool: What is chosen from.
        among: All configurations of the sweep that have a row.
        sweep: Name of the sweep.
    """
    rows = []
    for frontier in frontiers:
        for i, amount in enumerate(_amounts(pool, frontier.resource)):
            found = best_under([Budget(resource=frontier.resource, amount=amount)], pool, sweep=sweep)
            rows.append(Row(config_id=None, cells=_cells(found, among=among), starts_group=i == 0))
    if not rows:
        return None
    columns = (
        Column(key="resource", header="budget of", is_label=True),
        Column(key="budget", header="at most", is_label=True),
        Column(key="dense", header="best dense"),
        Column(key="dense_nll", header="nll\n(dense)", unit="nats/token"),
        Column(key="sparse", header="best sparse"),
        Column(key="sparse_nll", header="nll\n(sparse)", unit="nats/token"),
        Column(key="delta_nll", header="sparse vs\ndense", unit="nats/token"),
    )
    has_choice = any(len(member.curves) > 1 for member in pool.members) and len(pool.members) > 2
    notes = [
        *(sentence_of(frontier) for frontier in frontiers),
        _HOW_TO_READ + (f" {_CROSS_FITTED}" if has_choice else ""),
        *_left_out(pool, among=among),
    ]
    return Table(key="frontier", title="Best under a budget", columns=columns, rows=tuple(rows), notes=tuple(notes))


def sentence_of(frontier: Frontier) -> str:
    """Say where which side is better along the budgets of a resource."""
    name, text = NAMES[frontier.resource], _FORMATS[frontier.resource]
    if frontier.low is None or frontier.high is None:
        if Caveat.NOT_TIMED in frontier.caveats:
            return f"By {name} nothing is compared: one side was not timed on the machine of the others."
        return f"By {name} nothing is compared: no budget is within reach of both sides."
    span = f"{text(frontier.low)} to {text(frontier.high)}"
    if not frontier.stretches:
        return f"By {name} both sides are equally good from {span}."
    first, *others = frontier.stretches
    if not others:
        sentence = f"By {name} {first.better} is better throughout, from {span}"
    elif frontier.crossing is not None:
        interval = "" if frontier.ci95 is None else f" [{text(frontier.ci95[0])}, {text(frontier.ci95[1])}]"
        sentence = (
            f"By {name} {first.better} is better up to {text(frontier.crossing)}{interval}, {others[0].better} beyond, "
            f"in the range from {span}"
        )
    else:
        places = ", then ".join(f"{stretch.better} up to {text(stretch.high)}" for stretch in others)
        sentence = (
            f"By {name} the two cross {len(others)} times: {first.better} is better from {text(first.low)} up to "
            f"{text(first.high)}, then {places}"
        )
    if Caveat.CROSSING_VARIES in frontier.caveats:
        return f"{sentence}. With one of the seeds left out that is not so, so it is not sure."
    if Caveat.SINGLE_SEED in frontier.caveats:
        return f"{sentence}; from one seed, so that the noise is unknown."
    return f"{sentence}."


def budget_table(found: BestUnderBudget, pool: Pool, *, among: Sequence[Configuration]) -> Table:
    """Answer what is best under the budgets that were asked for.

    Args:
        found: The answer.
        pool: What was chosen from.
        among: All configurations of the sweep that have a row.
    """
    rows = []
    for side, choice in (("dense", found.dense), ("sparse", found.sparse)):
        named = Cell(text=UNKNOWN) if choice is None else Cell(text=_name(choice, among), value=choice.config_id)
        candidates = 0 if choice is None else choice.candidates
        cells = (
            Cell(text=side, value=side),
            named,
            _nll_cell(choice),
            _difference_cell(found) if side == "sparse" else Cell(text=UNKNOWN),
            Cell(text=str(candidates), value=candidates),
        )
        rows.append(Row(config_id=None if choice is None else choice.config_id, cells=cells))
    columns = (
        Column(key="side", header="best", is_label=True),
        Column(key="configuration", header="configuration"),
        Column(key="nll", header="nll", unit="nats/token"),
        Column(key="delta_nll", header="sparse vs\ndense", unit="nats/token"),
        Column(key="candidates", header="within\nbudget"),
    )
    return Table(
        key="budget",
        title=f"Under a budget of {budget_text(found.budgets)}",
        columns=columns,
        rows=tuple(rows),
        notes=(budget_sentence(found, pool, among=among), *_left_out(pool, among=among)),
    )


def budget_text(budgets: Sequence[Budget]) -> str:
    """Put budgets into words.

    >>> budget_text([Budget(resource="train_time_s", amount=600), Budget(resource="peak_memory_bytes", amount=2**31)])
    '10 min 00 s of training time and 2.00 GiB of peak memory'
    """
    return " and ".join(f"{_FORMATS[each.resource](each.amount)} of {NAMES[each.resource]}" for each in budgets)


def budget_sentence(found: BestUnderBudget, pool: Pool, *, among: Sequence[Configuration]) -> str:
    """Say in a sentence what is best under some budgets."""
    under = f"Within {budget_text(found.budgets)}"
    dense, sparse = found.dense, found.sparse
    if pool.has_other_data:
        return "The configurations are evaluated on different text, so that none is the best under a budget."
    if dense is None and sparse is None:
        return f"{under} no configuration has an annealed point{_least(pool.members, found.budgets)}."
    if dense is None or sparse is None:
        lacking, other, choice = ("dense", "sparse", sparse) if dense is None else ("sparse", "dense", dense)
        assert choice is not None
        side = pool.dense if lacking == "dense" else pool.sparse
        return (
            f"{under} no {lacking} configuration has an annealed point{_least(side, found.budgets)}; the best {other} "
            f"one ({_name(choice, among)}) reaches an nll of {choice.nll:.3f}."
        )
    assert found.delta_nll is not None
    better = "better" if found.delta_nll < 0 else "worse"
    difference = f"{abs(found.delta_nll):.3f}"
    doubt = "one seed, so the noise is unknown"
    if found.ci95 is not None:
        difference += f" ± {(found.ci95[1] - found.ci95[0]) / 2:.3f}"
        doubt = f"95% interval over {len(found.seeds)} seeds"
        if found.better is None:
            doubt += "; it includes 0: this sweep does not tell the two apart"
    return (
        f"{under} the best sparse configuration ({_name(sparse, among)}) reaches an nll of {sparse.nll:.3f}, "
        f"{difference} nats {better} than the best dense one ({_name(dense, among)}) with {dense.nll:.3f} ({doubt})."
    )


def round_amounts(low: float, high: float, *, number: int = 3, base: float = 1.0) -> tuple[float, ...]:
    """Give round numbers within a range, about evenly spread: of as few digits as give enough of them.

    Args:
        low: Where the range begins, above 0.
        high: Where it ends.
        number: How many there are at most.
        base: The unit in which they are round.

    >>> round_amounts(0.29, 1.19), round_amounts(23.1, 24.9), round_amounts(1e3, 9e4, number=2)
    ((0.3, 0.7, 1.0), (24.0,), (1000.0, 50000.0))
    """
    found: list[float] = []
    for digits in ((1, 2, 5), range(1, 10), range(10, 100)):
        exponents = range(math.floor(math.log10(low / base)) - 2, math.ceil(math.log10(high / base)) + 1)
        amounts = {float(f"{digit}e{exponent}") * base for exponent, digit in itertools.product(exponents, digits)}
        found = sorted(amount for amount in amounts if low <= amount <= high)
        if len(found) >= number:
            break
    if len(found) <= number:
        return tuple(found)
    return tuple(found[round(i * (len(found) - 1) / (number - 1))] for i in range(number))


def _amounts(pool: Pool, resource: Resource) -> tuple[float, ...]:
    """A few round budgets at which both sides are known; of memory, up to what the largest model takes."""
    span = common_range([reaches_of(side, resource) for side in (pool.dense, pool.sparse)], resource)
    if span is None:
        return ()
    low, high = span
    if resource != "peak_memory_bytes":
        return round_amounts(low, high) or (high,)
    base = 1024.0 ** math.floor(math.log(low, 1024))
    return round_amounts(low, high, base=base) or (high,)


def _cells(found: BestUnderBudget, *, among: Sequence[Configuration]) -> tuple[Cell, ...]:
    (budget,) = found.budgets
    dense, sparse = found.dense, found.sparse
    return (
        Cell(text=NAMES[budget.resource], value=budget.resource),
        Cell(text=_FORMATS[budget.resource](budget.amount), value=budget.amount),
        _choice_cell(dense, among),
        _nll_cell(dense),
        _choice_cell(sparse, among),
        _nll_cell(sparse),
        _difference_cell(found),
    )


def _choice_cell(choice: Choice | None, among: Sequence[Configuration]) -> Cell:
    return Cell(text=UNKNOWN) if choice is None else Cell(text=_name(choice, among), value=choice.config_id)


def _nll_cell(choice: Choice | None) -> Cell:
    if choice is None:
        return Cell(text=UNKNOWN)
    return Cell(text=f"{choice.nll:.3f}", value=choice.nll, caveats=choice.caveats)


def _difference_cell(found: BestUnderBudget) -> Cell:
    if found.delta_nll is None:
        return Cell(text=UNKNOWN)
    text = f"{found.delta_nll:+.3f}"
    if found.ci95 is not None:
        text += f" [±{(found.ci95[1] - found.ci95[0]) / 2:.3f}]"
    return Cell(text=text, value=found.delta_nll, ci95=found.ci95, caveats=found.caveats)


def _name(choice: Choice, among: Sequence[Configuration]) -> str:
    (chosen,) = (each for each in among if each.config_id == choice.config_id)
    return describe(chosen, among=among)


def _least(side: Sequence[Member], budgets: Sequence[Budget]) -> str:
    """The least that any configuration of a side takes, where one budget alone is too small."""
    parts = []
    for budget in budgets:
        least = least_of(side, budget.resource)
        if least is not None and least > budget.amount:
            parts.append(f"the first takes {_FORMATS[budget.resource](least)} of {NAMES[budget.resource]}")
        elif least is None and budget.resource == "train_time_s" and side:
            parts.append("none was timed")
    return f": {' and '.join(parts)}" if parts else ""


def _left_out(pool: Pool, *, among: Sequence[Configuration]) -> list[str]:
    """Say which configurations are not chosen from."""
    notes = []
    if pool.diverged:
        names = "; ".join(describe_all(pool.diverged, among=among).values())
        notes.append(f"Not chosen from, since runs of theirs diverged: {names}.")
    untimed = sum(member.configuration.timing is None for member in pool.members)
    if untimed:
        have, are = ("configuration has", "is") if untimed == 1 else ("configurations have", "are")
        notes.append(
            f"{untimed} {have} no step time on the machine whose times are compared, and {are} left out under a budget "
            "of time."
        )
    return notes
