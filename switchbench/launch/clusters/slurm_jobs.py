"""What a job of Slurm runs, and the files by which it tells how far it is and is told to stop."""

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from switchbench.launch.clusters.elsewhere import carry_out, carry_out_timing
from switchbench.launch.clusters.errand import Errand, Parcel, Timings
from switchbench.launch.executor import Job
from switchbench.launch.messages import Machine, Progress, TimingItem

ALIVE = "alive"
"""File that the command touches while it is there."""
ABANDONED_S = 300.0
"""After this time without a sign of the command, a job takes it for dead, keeps a checkpoint and ends."""


@dataclass(frozen=True, kw_only=True)
class FileBoard:
    """Where a job says how far it is, and reads whether it is to stop."""

    folder: Path
    """The transport's folder."""
    attempt: str
    """The attempt's name there."""

    def watcher(self) -> "_Watcher":
        """Give the function that a job tells its progress."""
        return _Watcher(self)


class _Watcher:
    def __init__(self, board: FileBoard) -> None:
        self._board = board
        self._words: dict[str, Any] = {}
        self._sign, self._seen_s = 0.0, time.monotonic()

    def __call__(self, word: Machine | Progress | None) -> bool:
        folder, attempt = self._board.folder, self._board.attempt
        if word is not None:
            self._words["machine" if isinstance(word, Machine) else "progress"] = asdict(word)
            temporary = folder / f".{attempt}.tmp"
            with contextlib.suppress(OSError):
                temporary.write_text(json.dumps(self._words), encoding="utf-8")
                temporary.replace(folder / f"{attempt}.told")
        return (folder / f"{attempt}.stop").exists() or self._is_abandoned(folder / ALIVE)

    def _is_abandoned(self, sign: Path) -> bool:
        """Whether the command is gone; only differences of our own clock count, since machines' clocks differ."""
        try:
            changed = sign.stat().st_mtime
        except OSError:
            return not sign.parent.exists()
        if changed != self._sign:
            self._sign, self._seen_s = changed, time.monotonic()
        return time.monotonic() - self._seen_s > ABANDONED_S


def run_there(job: Job, errand: Errand, board: FileBoard) -> Parcel:
    """Execute an attempt, in the process of its job.

    Args:
        job: The attempt.
        errand: How.
        board: Where to say how far it is.
    """
    return carry_out(job, errand=errand, tell=board.watcher())


def time_there(items: Sequence[TimingItem], errand: Errand) -> Timings:
    """Measure step times, in the process of a job that has its machine alone.

    Args:
        items: What to time.
        errand: How.
    """
    return carry_out_timing(items, errand=errand, weights={}, tell=lambda fraction: None)
