"""Which side of a pair wins, and how sure that is: verdicts from contrasts, corrected for their number."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

from switchbench.compare.intervals import Contrast
from switchbench.compare.power import smallest_resolvable

Side = Literal["sparse", "dense"]
"""A side of a pair."""
Verdict = Literal["sparse", "dense", "equivalent", "unresolved"]
"""``sparse``, ``dense``: this side is better; ``equivalent``: the difference, if there is any, is smaller than what
matters; ``unresolved``: the runs do not tell."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What there is to judge a pair by, in one measure."""

    hypothesis: Hashable
    """What is asked: the two configurations. Pairs that ask the same count once."""
    is_primary: bool
    """Whether this was named before the runs as the one question of the sweep: then it is not corrected."""
    gain: Contrast | None
    """How much better sparse is; None: there is no interval."""
    margin: float
    """How large a gain matters, either way; 0: there is nothing to be equivalent in."""
    diverged: Mapping[Side, tuple[int, int]]
    """How many runs of each side diverged, of how many that ended."""
    counts_divergence: bool
    """Whether that runs diverge is in itself a way to lose: so of quality, not of speed."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What came of it."""

    verdict: Verdict
    """The verdict."""
    p_value: float | None
    """Of no difference, uncorrected; None: nothing was tested."""
    p_holm: float | None
    """The same, corrected for the number of pairs; of the primary pair it is the uncorrected one."""
    alpha: float
    """The level that the pair is sure to be tested at, whatever comes of the others."""
    resolvable: float | None
    """The smallest gain that would have been told at this level with a power of 80%; None: without an interval."""


def judge(evidence: Sequence[Evidence], *, confidence: float) -> tuple[Judgement, ...]:
    """Judge pairs in one measure.

    ``equivalent`` where the interval lies within ±margin, whether or not it includes 0: a difference that is there and
    does not matter. Else ``sparse`` or ``dense`` where it leaves out 0. All p-values but that of the primary pair are
    corrected for their number by Holm's method, those of differences and those of equivalence each among themselves,
    so that among all pairs a wrong claim of either kind is as rare as 1 - confidence.

    Runs that diverged count as the worst. The side that lost the larger share of its runs to divergence cannot win, nor
    be equivalent: what is left of it are its lucky seeds. Where its survivors are not worse, Fisher's exact test of the
    numbers that diverged decides between the other side and ``unresolved``.

    Args:
        evidence: The pairs.
        confidence: The level of confidence, such as 0.95.

    Returns:
        One judgement per pair, in order.
    """
    alpha = 1 - confidence
    tested = {index: _difference(each) for index, each in enumerate(evidence)}
    family = {each.hypothesis: tested[index] for index, each in enumerate(evidence) if not each.is_primary}
    differences = holm({key: p for key, (p, _) in family.items() if p is not None})
    equivalences = holm({each.hypothesis: _equivalence(each) for each in evidence if not each.is_primary and each.gain})
    judgements = []
    for index, each in enumerate(evidence):
        p_value, winner = tested[index]
        p_equivalence = _equivalence(each)
        level, p_holm = alpha, p_value
        if not each.is_primary:
            p_holm = differences.get(each.hypothesis)
            p_equivalence = equivalences.get(each.hypothesis, 1.0)
            level = alpha / max(1, len(differences))
        verdict: Verdict = "unresolved"
        if p_equivalence <= alpha:
            verdict = "equivalent"
        elif p_holm is not None and winner is not None and p_holm <= alpha:
            verdict = winner
        judgements.append(
            Judgement(
                verdict=verdict,
                p_value=p_value,
                p_holm=p_holm,
                alpha=level,
                resolvable=None if each.gain is None else smallest_resolvable(each.gain, alpha=level),
            )
        )
    return tuple(judgements)


def holm(p_values: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """Correct p-values for their number: the j-th smallest of m times m - j + 1, never less than the one before.

    >>> holm({"a": 0.03, "b": 0.01, "c": 0.04})
    {'b': 0.03, 'a': 0.06, 'c': 0.06}

    Source:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected: dict[Hashable, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[key]))
        corrected[key] = largest
    return corrected


def fisher_p(sparse: tuple[int, int], dense: tuple[int, int]) -> float:
    """Give the two-sided p-value of Fisher's exact test that both sides diverge equally often.

    Args:
        sparse: How many diverged, of how many.
        dense: The same of the other side.

    >>> round(fisher_p((4, 4), (0, 4)), 4), fisher_p((1, 2), (0, 2))
    (0.0286, 1.0)
    """
    (bad, ended), (other_bad, other_ended) = sparse, dense
    all_bad = bad + other_bad
    ways = {
        number: comb(ended, number) * comb(other_ended, all_bad - number)
        for number in range(max(0, all_bad - other_ended), min(ended, all_bad) + 1)
    }
    return sum(way for way in ways.values() if way <= ways[bad]) / sum(ways.values())


def _difference(evidence: Evidence) -> tuple[float | None, Side | None]:
    """The p-value of no difference, and the side that is better."""
    steadier = _steadier(evidence)
    if evidence.gain is None:
        p_value, winner = None, None
    else:
        p_value, winner = evidence.gain.p_difference(), _leader(evidence.gain)
    if steadier is None or winner == steadier:
        return p_value, winner
    if evidence.counts_divergence:
        return fisher_p(evidence.diverged["sparse"], evidence.diverged["dense"]), steadier
    return (None if p_value is None else 1.0), None


def _equivalence(evidence: Evidence) -> float:
    if evidence.gain is None or _steadier(evidence) is not None:
        return 1.0
    return evidence.gain.p_equivalence(evidence.margin)


def _leader(gain: Contrast) -> Side:
    return "sparse" if gain.value > 0 else "dense"


def _steadier(evidence: Evidence) -> Side | None:
    """The side that lost the smaller share of its runs to divergence; None: both lost the same."""
    (bad, ended), (other_bad, other_ended) = evidence.diverged["sparse"], evidence.diverged["dense"]
    ours, theirs = bad * max(1, other_ended), other_bad * max(1, ended)
    if ours == theirs:
        return None
    return "dense" if ours > theirs else "sparse"
