import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from switchbench.compare.intervals import Contrast
from switchbench.compare.power import smallest_resolvable
from switchbench.compare.verdicts import Evidence, fisher_p, holm, judge


def evidence(
    gain: float | None,
    *,
    name: str = "pair",
    is_primary: bool = False,
    sparse: tuple[int, int] = (0, 4),
    dense: tuple[int, int] = (0, 4),
    counts_divergence: bool = True,
) -> Evidence:
    """A pair with a standard error of 0.01, 10 degrees of freedom and a margin of 0.05."""
    contrast = None if gain is None else Contrast(value=gain, standard_error=0.01, degrees_of_freedom=10)
    return Evidence(
        hypothesis=name,
        is_primary=is_primary,
        gain=contrast,
        margin=0.05,
        diverged={"sparse": sparse, "dense": dense},
        counts_divergence=counts_divergence,
    )


def verdict_of(one: Evidence, *, confidence: float = 0.95) -> str:
    return judge([one], confidence=confidence)[0].verdict


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (0.2, "sparse"),
        (-0.2, "dense"),
        (0.0, "equivalent"),
        (0.026, "equivalent"),  # there is a difference, and it is smaller than what matters
        (0.029, "sparse"),  # [0.0067, 0.0513]
        (None, "unresolved"),
    ],
)
def test_one_pair(gain: float | None, verdict: str):
    """The interval is gain ± 0.0223, since t(10) is 2.228."""
    assert verdict_of(evidence(gain)) == verdict


def test_a_wide_interval_resolves_nothing():
    wide = evidence(0.04)
    assert wide.gain is not None
    wide = replace(wide, gain=replace(wide.gain, standard_error=0.03))
    assert verdict_of(wide) == "unresolved"
    assert verdict_of(wide, confidence=0.75) == "sparse"


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_strictest_of_all_bonferroni_corrections(p_values: list[float]):
    """It is the closed test: a pair's p-value is the largest, over all sets of pairs that it is in, of the set's."""
    corrected = holm(dict(enumerate(p_values)))
    indices = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in itertools.combinations(indices, size)]
    for index in indices:
        closed = max(
            min(1.0, len(chosen) * min(p_values[each] for each in chosen)) for chosen in sets if index in chosen
        )
        assert corrected[index] == pytest.approx(closed)


def test_all_pairs_but_the_primary_one_are_corrected():
    """p is 0.02 for a gain of 0.0277: enough for one, not for each of four."""
    gain = 0.0277
    several = [replace(evidence(gain, name=name), margin=0.01) for name in "abcd"]
    primary = replace(evidence(gain, name="p", is_primary=True), margin=0.01)
    one, *others = judge([primary, *several], confidence=0.95)
    assert one.p_value == one.p_holm == pytest.approx(0.02, abs=0.001)
    assert one.alpha == pytest.approx(0.05)
    assert one.verdict == "sparse"
    for each in others:
        assert each.p_holm == pytest.approx(4 * one.p_value)
        assert each.alpha == pytest.approx(0.05 / 4)
        assert each.verdict == "unresolved"
        assert several[0].gain is not None
        assert each.resolvable == smallest_resolvable(several[0].gain, alpha=0.05 / 4)


def test_pairs_that_ask_the_same_count_once():
    """One dense configuration may be the twin in two ways."""
    twice = judge([evidence(0.1, name="a"), evidence(0.1, name="a"), evidence(0.2, name="b")], confidence=0.95)
    assert twice[0] == twice[1]
    assert twice[0].alpha == pytest.approx(0.05 / 2)


def test_pairs_without_an_interval_do_not_count():
    alone, untested = judge([evidence(0.1, name="a"), evidence(None, name="b")], confidence=0.95)
    assert alone.p_holm == alone.p_value
    assert (untested.p_holm, untested.verdict, untested.resolvable) == (None, "unresolved", None)


# Runs that diverged


def test_a_side_that_diverged_more_often_does_not_win():
    assert verdict_of(evidence(0.2, sparse=(1, 4))) == "unresolved"
    assert verdict_of(evidence(0.0, sparse=(1, 4))) == "unresolved"
    assert verdict_of(evidence(-0.2, sparse=(1, 4))) == "dense"
    assert verdict_of(evidence(0.2, dense=(1, 4))) == "sparse"
    assert verdict_of(evidence(0.2, sparse=(1, 4), dense=(1, 4))) == "sparse"
    assert verdict_of(evidence(0.2, sparse=(1, 4), dense=(1, 8))) == "unresolved"


def test_divergence_alone_can_decide():
    """Four of four against none of four is too much for chance (p = 0.029), three is not (0.14)."""
    assert verdict_of(evidence(None, sparse=(4, 4))) == "dense"
    assert verdict_of(evidence(None, sparse=(3, 4))) == "unresolved"
    assert verdict_of(evidence(0.2, dense=(8, 8), sparse=(0, 8))) == "sparse"
    assert verdict_of(evidence(0.2, sparse=(7, 8), dense=(0, 8))) == "dense"
    assert verdict_of(evidence(None, sparse=(4, 4), counts_divergence=False)) == "unresolved"
    assert verdict_of(evidence(0.2, sparse=(7, 8), dense=(0, 8), counts_divergence=False)) == "unresolved"


@given(sparse=st.integers(0, 6), dense=st.integers(0, 6), more=st.integers(0, 3))
def test_fishers_test_is_scipys(sparse: int, dense: int, more: int):
    ended = 6 + more
    table = [[sparse, ended - sparse], [dense, 6 - dense]]
    assert fisher_p((sparse, ended), (dense, 6)) == pytest.approx(stats.fisher_exact(table).pvalue)
