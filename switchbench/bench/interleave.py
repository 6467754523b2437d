"""Timing several contestants in turns, so that a drift of the machine meets all of them alike."""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from switchbench.timing import TimeSummary, summarize

WARM_UP_ROUNDS = 3

Contestant = TypeVar("Contestant")


def time_in_turns(
    contestants: Mapping[str, Callable[[], None]],
    *,
    rounds: int,
    synchronize: Callable[[], None],
    on_round: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Time every contestant once per round, in an order of its own; the first few rounds are not counted.

    Args:
        contestants: What to call, by name.
        rounds: Counted rounds.
        synchronize: Waits for the device.
        on_round: Called after each round, uncounted ones included.

    Returns:
        Times of each in seconds, in the order of the rounds.
    """
    times_s: dict[str, list[float]] = {name: [] for name in contestants}
    for round_index in range(WARM_UP_ROUNDS + rounds):
        for name, call in in_order_of_round(list(contestants.items()), round_index=round_index):
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            if round_index >= WARM_UP_ROUNDS:
                times_s[name].append(time.perf_counter() - start)
        on_round()
    return times_s


def in_order_of_round(contestants: Sequence[Contestant], *, round_index: int) -> list[Contestant]:
    """Shuffle the contestants anew for each round, the same in every benchmark.

    Whoever runs before leaves its mark on caches and heap: a float32 step took a quarter longer behind a bfloat16 one
    than behind another of its own precision.

    Args:
        contestants: Who is to be timed.
        round_index: The round.

    >>> in_order_of_round("abcd", round_index=0), in_order_of_round("abcd", round_index=1)
    (['d', 'b', 'a', 'c'], ['b', 'c', 'a', 'd'])
    """
    return random.Random(round_index).sample(contestants, len(contestants))


def median_ratio(times_s: list[float], reference_s: list[float]) -> float:
    """Median over rounds of one contestant's time over another's in the same round.

    >>> median_ratio([2.0, 9.0, 6.0], [1.0, 3.0, 3.0])
    2.0
    """
    return statistics.median(one / other for one, other in zip(times_s, reference_s, strict=True))


def time_columns(times_s: list[float]) -> dict[str, float | int]:
    """Give the columns of a row that say how long it took."""
    summary: TimeSummary = summarize(times_s)
    return {
        "median_s": summary.median_s,
        "q25_s": summary.q25_s,
        "q75_s": summary.q75_s,
        "rounds": summary.count,
    }
