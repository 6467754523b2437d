"""What Ray runs: the actor through which tasks and command talk, and the tasks themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from switchbench.launch.clusters.elsewhere import carry_out, carry_out_timing, find_machine
from switchbench.launch.clusters.errand import Errand, Parcel, Timings, shares_folder
from switchbench.launch.executor import Job
from switchbench.launch.messages import Machine, Progress, TimingItem

ANSWER_S = 5.0
"""How long the actor may take to answer a task, which goes on without an answer."""

Word = Machine | Progress | float
"""What a task says: where it is, how far, or the share of a timing pass that is done."""


class Board:
    """Where tasks say how far they are, and read whether they are to stop; an actor of one process."""

    def __init__(self) -> None:
        self._news: list[tuple[str, Word]] = []
        self._stopped: set[str] = set()

    def tell(self, attempt: str, word: Word | None) -> bool:
        """Take what a task says; give whether it is to stop."""
        if word is not None:
            self._news.append((attempt, word))
        return attempt in self._stopped

    def take(self) -> list[tuple[str, Word]]:
        """Give what was said since the last call."""
        news, self._news = self._news, []
        return news

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask attempts to stop."""
        self._stopped.update(attempts)


def run_there(job: Job, errand: Errand, board: Any, attempt: str) -> Parcel:
    """Execute an attempt on the machine that Ray has chosen.

    Args:
        job: The attempt.
        errand: How.
        board: The actor.
        attempt: The attempt's name on the board.
    """
    return carry_out(job, errand=errand, tell=lambda word: _tell(board, attempt, word))


def look_there(errand: Errand) -> tuple[str, bool]:
    """Give the ``machine_id`` of the machine, and whether the results folder is there.

    Args:
        errand: How runs are executed.
    """
    return find_machine(errand).machine_id, shares_folder(errand)


def time_there(items: Sequence[TimingItem], errand: Errand, weights: Mapping[str, bytes], board: Any) -> Timings:
    """Measure step times on the machine.

    Args:
        items: What to time.
        errand: How.
        weights: By run_id, weights that are not in the results folder there.
        board: The actor.
    """
    return carry_out_timing(
        items, errand=errand, weights=weights, tell=lambda fraction: _tell(board, "timing", fraction)
    )


def _tell(board: Any, attempt: str, word: Word | None) -> bool:
    try:
        return bool(ray.get(board.tell.remote(attempt, word), timeout=ANSWER_S))
    except ray.exceptions.RayError:
        return False
