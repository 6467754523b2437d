"""The best dense and the best sparse configuration under a budget, or under several at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from switchbench.caveats import OF_WALL_CLOCK, Caveat, in_order
from switchbench.compare.configurations import mixture_caveats
from switchbench.compare.intervals import jackknife_ci95
from switchbench.compare.pairs import timing_caveats
from switchbench.compare.pool import Member, Pool, Resource


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most of a resource that a training may take."""

    resource: Resource
    """What is limited."""
    amount: float
    """How much of it there is, in FLOPs, seconds or bytes."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best configuration of one side."""

    config_id: str
    """The one that the mean over all its seeds picks."""
    nll: float
    """Nats per token, mean over seeds. Where several seeds stand to choose by, each seed scores what the others pick,
    so that no luck of the choice is in it."""
    candidates: int
    """Configurations of this side that it was chosen from: those with a point within the budget."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust it."""


@dataclass(frozen=True, kw_only=True)
class BestUnderBudget:
    """Dense against sparse under a budget."""

    sweep: str
    """Name of the sweep."""
    budgets: tuple[Budget, ...]
    """The budgets, all of which hold."""
    dense: Choice | None
    """The best dense configuration; None: none has an annealed point within the budget."""
    sparse: Choice | None
    """The best sparse one."""
    delta_nll: float | None
    """nll_sparse - nll_dense, nats per token: below 0, sparse is better; None where a side has none."""
    ci95: tuple[float, float] | None
    """95% interval over seeds; None from fewer than two."""
    seeds: tuple[int, ...]
    """The seeds that score both sides."""
    caveats: tuple[str, ...]
    """Codes of the reasons to distrust the difference."""

    @property
    def better(self) -> str | None:
        """``dense`` or ``sparse``; None: not told apart, or not compared."""
        if self.ci95 is None or self.ci95[0] <= 0 <= self.ci95[1]:
            return None
        return "sparse" if self.ci95[1] < 0 else "dense"


def best_under(budgets: Sequence[Budget], pool: Pool, *, sweep: str) -> BestUnderBudget:
    """Choose the best configuration of each side under some budgets, and compare the two.

    Within a budget, a configuration reaches what its curve does (see ``Reach``); within several, the worst of that.
    The minimum over noisy configurations is lower than what its winner is worth. So, cross-fitting: for each seed, the
    configuration is picked by the mean over its other seeds, and scored on this one.

    Args:
        budgets: At least one.
        pool: What may be chosen.
        sweep: Name of the sweep.
    """
    scores = [_scores(side, budgets) for side in (pool.dense, pool.sparse)]
    shared = tuple(seed for seed in scores[0] if seed in scores[1])
    choices = [
        _choose(side, budgets, scores={seed: score for seed, score in each.items() if seed in shared or not shared})
        for side, each in zip((pool.dense, pool.sparse), scores, strict=True)
    ]
    dense, sparse = choices
    delta_nll, ci95 = None, None
    caveats: list[str] = []
    if dense is not None and sparse is not None:
        caveats += [*dense.caveats, *sparse.caveats, *_mixtures([dense, sparse], pool, budgets)]
        delta_nll = sparse.nll - dense.nll
        differences = [scores[1][seed] - scores[0][seed] for seed in shared]
        if len(shared) > 1:
            without = [fmean(differences[:i] + differences[i + 1 :]) for i in range(len(differences))]
            ci95 = jackknife_ci95(delta_nll, leave_one_out=without)
        else:
            caveats.append(Caveat.SINGLE_SEED)
    return BestUnderBudget(
        sweep=sweep,
        budgets=tuple(budgets),
        dense=dense,
        sparse=sparse,
        delta_nll=delta_nll,
        ci95=ci95,
        seeds=shared,
        caveats=in_order(caveats),
    )


def least_of(side: Sequence[Member], resource: Resource) -> float | None:
    """Give the least of a resource that any configuration takes to its first annealed point; None: not known."""
    reaches = [member.reach(resource, seeds=list(member.curves)) for member in side]
    return min((reach.costs[0] for reach in reaches if reach is not None), default=None)


def _value(member: Member, budgets: Sequence[Budget], *, seeds: Sequence[int]) -> float | None:
    """What a configuration reaches within all budgets, over some of its seeds; None: it has no point within them."""
    values = []
    for budget in budgets:
        reach = member.reach(budget.resource, seeds=seeds)
        value = None if reach is None else reach.at(budget.amount)
        if value is None:
            return None
        values.append(value)
    return max(values)


def _within(side: Sequence[Member], budgets: Sequence[Budget]) -> list[tuple[float, Member]]:
    """The configurations of a side that have a point within all budgets, with what they reach."""
    values = [(_value(member, budgets, seeds=list(member.curves)), member) for member in side]
    return [(value, member) for value, member in values if value is not None]


def _scores(side: Sequence[Member], budgets: Sequence[Budget]) -> dict[int, float]:
    """Score each seed of the best configuration with the one that the other seeds pick: mostly, the same.

    Where there is one configuration alone, nothing is picked.
    """
    within = _within(side, budgets)
    scores: dict[int, float] = {}
    if not within:
        return scores
    for seed in min(within, key=lambda found: found[0])[1].curves:
        picked = [member for _, member in within if seed in member.curves]
        if len(within) > 1:
            picked = _picked_by_others(picked, budgets, seed=seed)
        own = [value for member in picked if (value := _value(member, budgets, seeds=[seed])) is not None]
        if own:
            scores[seed] = own[0]
    return scores


def _picked_by_others(members: Sequence[Member], budgets: Sequence[Budget], *, seed: int) -> list[Member]:
    """The best configuration by all seeds but one; none where it has no other seed."""
    values = []
    for member in members:
        others = [other for other in member.curves if other != seed]
        value = _value(member, budgets, seeds=others) if others else None
        if value is not None:
            values.append((value, member))
    return [min(values, key=lambda found: found[0])[1]] if values else []


def _choose(side: Sequence[Member], budgets: Sequence[Budget], *, scores: dict[int, float]) -> Choice | None:
    within = _within(side, budgets)
    if not within:
        return None
    value, best = min(within, key=lambda found: found[0])
    caveats: list[str] = [*best.configuration.caveats, *_of_quality(best), *_of_resources([best], budgets)]
    if not scores:  # nobody else to pick by
        caveats += [Caveat.PICKED_BEST] if len(within) > 1 else []
    elif len(within) > 1:
        members = [member for _, member in within]
        if any(_picked_by_others(members, budgets, seed=seed) != [best] for seed in scores):
            caveats.append(Caveat.PICK_VARIES)
    return Choice(
        config_id=best.configuration.config_id,
        nll=fmean(scores.values()) if scores else value,
        candidates=len(within),
        caveats=in_order(caveats),
    )


def _of_quality(member: Member) -> list[str]:
    rows = member.configuration.finished.values()
    return [code for row in rows for code in row.caveats if code not in OF_WALL_CLOCK]


def _of_resources(members: Sequence[Member], budgets: Sequence[Budget]) -> list[str]:
    """What is to be said of the costs of some configurations."""
    resources = {budget.resource for budget in budgets}
    caveats: list[str] = []
    if "train_time_s" in resources:
        caveats += timing_caveats([member.configuration.timing for member in members])
    return caveats


def _mixtures(choices: Sequence[Choice], pool: Pool, budgets: Sequence[Budget]) -> list[str]:
    """What the runs of two choices have not in common."""
    ids = {choice.config_id for choice in choices}
    chosen = [member for member in pool.members if member.configuration.config_id in ids]
    mixed = mixture_caveats([row for member in chosen for row in member.configuration.finished.values()])
    has_memory = any(budget.resource == "peak_memory_bytes" for budget in budgets)
    return [
        *_of_resources(chosen, budgets),
        *(code for code in mixed if has_memory or code != Caveat.MIXED_MACHINES),  # nll is no matter of machines
    ]
