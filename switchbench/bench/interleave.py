"""Timing several contestants in turns, so that a drift of the machine meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping

from switchbench.timing import TimeSummary, summarize

WARM_UP_ROUNDS = 3


def time_in_turns(
    contestants: Mapping[str, Callable[[], None]],
    *,
    rounds: int,
    synchronize: Callable[[], None],
    on_round: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Time every contestant once per round; the first few rounds are not counted.

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
        for name, call in contestants.items():
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            if round_index >= WARM_UP_ROUNDS:
                times_s[name].append(time.perf_counter() - start)
        on_round()
    return times_s


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
