import math
import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from switchbench.errors import UsageError
from switchbench.generate.sampling import Sampling, choose_token

LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30)


def chosen(logits: list[float], *, temperature: float = 1.0, top_p: float = 1.0, seed: int = 0) -> int:
    sampling = Sampling(temperature=temperature, top_p=top_p)
    return choose_token(torch.tensor(logits), sampling=sampling, random=torch.Generator().manual_seed(seed))


def slow_nucleus(logits: list[float], *, temperature: float, top_p: float) -> list[int]:
    """Take tokens, the most probable first, until they have the probability together."""
    weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    order = sorted(range(len(logits)), key=lambda token: (-weights[token], token))
    nucleus: list[int] = []
    while sum(weights[token] for token in nucleus) / sum(weights) < top_p - 1e-9 and len(nucleus) < len(order):
        nucleus.append(order[len(nucleus)])
    return nucleus


@given(LOGITS, st.integers(0, 5))
def test_at_temperature_0_it_is_the_most_probable(logits: list[float], seed: int) -> None:
    assert chosen(logits, temperature=0, seed=seed) == logits.index(max(logits))


@given(LOGITS, st.floats(0.1, 3), st.floats(0.05, 1), st.integers(0, 5))
def test_it_is_one_of_the_nucleus(logits: list[float], temperature: float, top_p: float, seed: int) -> None:
    nucleus = slow_nucleus(logits, temperature=temperature, top_p=min(1.0, top_p + 1e-6))
    assert chosen(logits, temperature=temperature, top_p=top_p, seed=seed) in nucleus


@given(LOGITS, st.integers(0, 1000))
def test_the_same_seed_gives_the_same(logits: list[float], seed: int) -> None:
    assert chosen(logits, seed=seed) == chosen(logits, seed=seed)


def test_tokens_come_as_often_as_they_are_probable() -> None:
    """Of 4000 tokens a share of p deviates by more than 4·sqrt(p(1-p)/4000) < 0.032 once in 16000 seeds."""
    shares, random = (0.5, 0.3, 0.2), torch.Generator().manual_seed(0)
    logits = torch.tensor(shares).log()
    counts = Counter(choose_token(logits, sampling=Sampling(), random=random) for _ in range(4000))
    assert [counts[token] / 4000 for token in range(3)] == pytest.approx(shares, abs=0.032)
    nucleus = Counter(choose_token(logits, sampling=Sampling(top_p=0.6), random=random) for _ in range(4000))
    assert [nucleus[token] / 4000 for token in range(3)] == pytest.approx((0.625, 0.375, 0), abs=0.032)


def test_a_small_temperature_does_not_overflow() -> None:
    assert chosen([5.0, 1000.0, 999.0], temperature=1e-6) == 1


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"temperature": -0.1}, "--temperature -0.1 is out of range; give 0"),
        ({"temperature": math.nan}, "--temperature nan is out of range"),
        ({"temperature": math.inf}, "--temperature inf is out of range"),
        ({"top_p": 0.0}, "--top-p 0.0 is out of range; give a probability above 0, at most 1"),
        ({"top_p": 1.5}, "--top-p 1.5 is out of range"),
    ],
)
def test_numbers_out_of_range(numbers: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Sampling(**numbers)
