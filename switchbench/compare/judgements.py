"""The verdicts of a sweep: every pair in every measure, and the one that stands for the sweep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from switchbench.caveats import Caveat
from switchbench.compare.configurations import Configuration
from switchbench.compare.effects import Noise
from switchbench.compare.equal_time import ISO_TIME
from switchbench.compare.matches import sort_kinds
from switchbench.compare.measures import DIFFERENCES, MEASURES, SPEEDUPS, Comparison
from switchbench.compare.pairs import Pair, fit_qualities, timing_caveats
from switchbench.compare.power import seeds_needed
from switchbench.compare.verdicts import Evidence, Side, Verdict, judge
from switchbench.store import PrimaryPair

SPEEDUP_MARGIN = 1.05
"""Speed-ups between this and its inverse make no difference that matters: step times of one and the same model differ
by as much from one day to the next."""
DOUBTS_OF_TIME = frozenset(
    {Caveat.NOT_TIMED, Caveat.BUSY_MACHINE, Caveat.MIXED_EXECUTION, Caveat.TIMED_APART, Caveat.SHARED_GPU}
)
"""What may move the ratio of two step times by more than their interval says: then time has no verdict."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What it takes to win."""

    primary: PrimaryPair | None = None
    """The pair that the sweep was run for; None: no pair was named."""
    confidence: float = 0.95
    """How sure a verdict must be."""
    min_effect: float = 0.005
    """The smallest difference in quality that matters, as a share of the dense twin's nll or bits per byte."""

    def is_primary(self, comparison: Comparison) -> bool:
        """Whether a comparison asks what the primary pair asks, in whatever else the two are twins.

        At equal time the same two are another question: how good the dense one is before, or without, its end.
        """
        if self.primary is None or (comparison.matched_on == ISO_TIME) != (self.primary.matched_on == ISO_TIME):
            return False
        return (self.primary.sparse, self.primary.dense) == (comparison.sparse, comparison.dense)


@dataclass(frozen=True, kw_only=True)
class SweepVerdict:
    """What a sweep says about sparse and dense."""

    verdict: Verdict | None
    """That of its pair, in nll at the end of training; None: no pair could be compared."""
    pair: Pair | None
    """The primary pair or, without one, the pair that gains most of those that are matched alike, those first that are
    better for sure."""
    is_primary: bool
    """Whether the pair was named before the runs, so that it is not corrected for the number of pairs."""
    candidates: int
    """How many pairs it was picked from; 1 where it was named."""
    tested: int
    """How many pairs it is corrected for."""
    seeds_needed: int | None
    """Seeds that it would take to tell a difference of ``min_effect`` in this pair with a power of 80%; None: more than
    anybody will run, or unknown."""
    noise: Noise | None
    """The noise of nll over the sweep; None: there are too few runs to tell."""
    rules: Rules = field(default_factory=Rules)
    """What it takes to win."""


def judge_pairs(pairs: Sequence[Pair], *, rules: Rules) -> tuple[Pair, ...]:
    """Give the comparisons of pairs their verdicts.

    Args:
        pairs: All pairs of a sweep: those that are not primary are corrected for their number.
        rules: What it takes to win.
    """
    sides = {side.config_id: side for pair in pairs for side in (pair.dense, pair.sparse)}
    judged = judge_comparisons([each for pair in pairs for each in pair.comparisons], sides=sides, rules=rules)
    size = len(MEASURES)
    return tuple(replace(pair, comparisons=judged[i * size : (i + 1) * size]) for i, pair in enumerate(pairs))


def judge_comparisons(
    comparisons: Sequence[Comparison], *, sides: Mapping[str, Configuration], rules: Rules
) -> tuple[Comparison, ...]:
    """Give comparisons their verdicts, those of one measure together: see ``judge``.

    A speed-up wins where its interval, or what it is bounded to, is above 1, and is equivalent where that is within 5%.
    Where the dense twin's quality is not reached, the verdict of quality is also that of steps. Costs have no verdict.

    Args:
        comparisons: All comparisons that are corrected for their number together.
        sides: The configurations, by ``config_id``.
        rules: What it takes to win.
    """
    judged = dict(enumerate(comparisons))
    for measure in (*DIFFERENCES, *SPEEDUPS):
        members = {
            index: each
            for index, each in enumerate(comparisons)
            if each.measure == measure and _is_judged(each, sides=sides)
        }
        evidence = [_evidence(each, sides=sides, rules=rules) for each in members.values()]
        for (index, each), judgement in zip(members.items(), judge(evidence, confidence=rules.confidence), strict=True):
            resolvable = judgement.resolvable
            if resolvable is not None and measure in SPEEDUPS:
                resolvable = None if each.bound is not None or resolvable > 700 else math.exp(resolvable)
            judged[index] = replace(
                each,
                verdict=judgement.verdict,
                p_value=judgement.p_value,
                p_holm=judgement.p_holm,
                resolvable=resolvable,
            )
    losers = {
        (each.sparse, each.dense, each.matched_on)
        for each in judged.values()
        if each.measure == "delta_nll" and each.verdict == "dense"
    }
    for index, each in judged.items():
        is_unreached = each.value is None and Caveat.NOT_REACHED in each.caveats
        if is_unreached and each.measure in ("step_speedup", "break_even_step_time_ratio"):
            is_lost = (each.sparse, each.dense, each.matched_on) in losers
            judged[index] = replace(each, verdict="dense" if is_lost else "unresolved")
    return tuple(judged.values())


def judge_sweep(pairs: Sequence[Pair], *, configurations: Sequence[Configuration], rules: Rules) -> SweepVerdict:
    """Say what a sweep says about sparse and dense.

    Args:
        pairs: Its pairs, judged.
        configurations: All its configurations.
        rules: What it takes to win.
    """
    judged = [pair for pair in pairs if pair.measured("delta_nll").verdict is not None]
    telling = [pair for pair in judged if _tells(pair.measured("delta_nll"))]
    noise = fit_qualities(configurations)["delta_nll"].noise
    named = [
        pair for pair in telling
        if rules.is_primary(pair.measured("delta_nll"))
        and rules.primary is not None
        and rules.primary.matched_on in pair.matched_on
    ]  # fmt: skip
    tested = {
        (pair.sparse.config_id, pair.dense.config_id)
        for pair in judged
        if pair.measured("delta_nll").p_holm is not None and not rules.is_primary(pair.measured("delta_nll"))
    }
    candidates = named[:1]
    if not named and telling:
        first = sort_kinds({pair.matched_on[0] for pair in telling})[0]
        candidates = [pair for pair in telling if pair.matched_on[0] == first]
    pair = min(candidates, key=_rank, default=None)
    return SweepVerdict(
        verdict=None if pair is None else pair.measured("delta_nll").verdict,
        pair=pair,
        is_primary=bool(named),
        candidates=len(candidates),
        tested=1 if named else len(tested),
        seeds_needed=None if pair is None else _seeds_needed(pair, configurations, rules, tested=len(tested)),
        noise=noise,
        rules=rules,
    )


def _tells(difference: Comparison) -> bool:
    """Whether there is a difference, or that runs diverged decides without one."""
    return difference.value is not None or difference.verdict in ("sparse", "dense")


def _rank(pair: Pair) -> tuple[bool, bool, float]:
    """First what is better for sure, then what has all its runs: of those that diverged the lucky seeds are left."""
    difference = pair.measured("delta_nll")
    value = math.inf if difference.value is None else difference.value
    return difference.verdict != "sparse", bool(pair.sparse.diverged or pair.dense.diverged), value


def _seeds_needed(pair: Pair, configurations: Sequence[Configuration], rules: Rules, *, tested: int) -> int | None:
    difference = pair.measured("delta_nll")
    if difference.gain is None:
        return None
    is_primary = rules.is_primary(difference)
    return seeds_needed(
        difference.gain,
        margin=_margin(difference, pair.dense, rules=rules),
        alpha=(1 - rules.confidence) / (1 if is_primary else max(1, tested)),
        seeds=len(difference.seeds),
        sweep_seeds=max(len(each.finished) for each in configurations),
    )


def _is_judged(comparison: Comparison, *, sides: Mapping[str, Configuration]) -> bool:
    """Whether there is anything to judge, and nothing that forbids it."""
    dense, sparse = sides[comparison.dense], sides[comparison.sparse]
    if comparison.measure == "time_speedup" and DOUBTS_OF_TIME & set(timing_caveats([dense.timing, sparse.timing])):
        return False
    if comparison.value is not None:
        return True
    has_diverged = bool(dense.diverged or sparse.diverged)
    withheld = {Caveat.NON_CAUSAL_ROUTING, Caveat.MIXED_TOKENIZERS} & set(comparison.caveats)
    return comparison.measure in DIFFERENCES and has_diverged and not comparison.seeds and not withheld


def _evidence(comparison: Comparison, *, sides: Mapping[str, Configuration], rules: Rules) -> Evidence:
    sparse, dense = sides[comparison.sparse], sides[comparison.dense]
    diverged: dict[Side, tuple[int, int]] = {
        "sparse": (len(sparse.diverged), len(sparse.diverged) + len(sparse.finished)),
        "dense": (len(dense.diverged), len(dense.diverged) + len(dense.finished)),
    }
    is_difference = comparison.measure in DIFFERENCES
    if is_difference:
        margin = _margin(comparison, dense, rules=rules)
    else:
        margin = 0.0 if comparison.bound is not None else math.log(SPEEDUP_MARGIN)
    return Evidence(
        hypothesis=(comparison.sparse, comparison.dense),
        is_primary=rules.is_primary(comparison),
        gain=comparison.gain,
        margin=margin,
        diverged=diverged,
        counts_divergence=is_difference,
    )


def _margin(comparison: Comparison, dense: Configuration, *, rules: Rules) -> float:
    """The smallest difference that matters, in the unit of the measure."""
    column = "nll" if comparison.measure == "delta_nll" else "bits_per_byte"
    known = [
        value for seed in comparison.seeds
        if seed in dense.finished and (value := getattr(dense.finished[seed], column)) is not None
    ]  # fmt: skip
    return rules.min_effect * abs(fmean(known)) if known else 0.0
