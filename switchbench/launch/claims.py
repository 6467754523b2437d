"""Who is running what: commands on one results folder share its runs, and none is trained twice.

A claim is a locked file, so it is given back however its holder ends; beside it lies what the holder last said of the
run. Both are advisory: where a file system has no locks a run may be trained twice, and its result, a file that is
renamed into place, is still one result.
"""

import contextlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from switchbench.launch.events import Listener, Warned
from switchbench.launch.locks import Lock
from switchbench.record import Progress
from switchbench.store import SweepFolder

BEAT_S = 5.0
"""Time between two heartbeats of a run."""
SILENT_S = 300.0
"""Where there are no locks: after this time without a heartbeat, the holder of a claim is taken for dead."""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """What the holder of a claim last said."""

    host: str
    """Name of its machine."""
    pid: int
    """Process of the command there."""
    started_s: float
    """Start of the run, seconds since 1970."""
    beat_s: float
    """When this was said, seconds since 1970."""
    tokens_done: int
    """Training tokens so far, cooldowns included."""
    tokens_total: int
    """Training tokens of the whole run; 0: not known yet."""
    nll: float | None
    """Last training or held-out nll."""

    def age_s(self, *, now_s: float | None = None) -> float:
        """Seconds since this was said; never negative, whatever the clocks of two machines say."""
        return max((time.time() if now_s is None else now_s) - self.beat_s, 0.0)


class Claims:
    """The claims of this command on the runs of a sweep.

    Args:
        folder: The sweep's folder, which exists.
        on_event: Told where the folder's file system has no locks.
    """

    def __init__(self, folder: SweepFolder, *, on_event: Listener) -> None:
        self._folder, self._on_event = folder.claims, on_event
        self._has_warned = False
        with contextlib.suppress(OSError):  # then there are no claims, as where there are no locks
            self._folder.mkdir(exist_ok=True)
        self._held: dict[str, tuple[Lock, float]] = {}
        self._beaten_s: dict[str, float] = {}
        self._progress: dict[str, Progress] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Give all claims back."""
        for run_id in list(self._held):
            self.release(run_id)

    def try_claim(self, run_id: str) -> bool:
        """Claim a run unless another command has it; says whether it is ours.

        Args:
            run_id: The run.
        """
        lock = Lock(_lock_path(self._folder, run_id))
        try:
            if not lock.try_acquire():
                return False
        except OSError as error:  # better trained twice than not at all
            if not self._has_warned:
                self._has_warned = True
                text = f"cannot lock {lock.path} ({error.strerror}): a second command would train the same runs"
                self._on_event(Warned(text=text))
        self._held[run_id] = (lock, time.time())
        self.beat(run_id, progress=None)
        return True

    def beat(self, run_id: str, *, progress: Progress | None) -> None:
        """Say how far a run of ours is; no more often than ``BEAT_S``.

        Args:
            run_id: The run.
            progress: Its progress; None: what it was, or it has just started.
        """
        if progress is not None:
            self._progress[run_id] = progress
        now_s = time.time()
        if abs(now_s - self._beaten_s.get(run_id, 0.0)) < BEAT_S:
            return
        self._beaten_s[run_id] = now_s
        last = self._progress.get(run_id)
        heartbeat = Heartbeat(
            host=socket.gethostname(),
            pid=os.getpid(),
            started_s=self._held[run_id][1],
            beat_s=now_s,
            tokens_done=last.tokens_done if last else 0,
            tokens_total=last.tokens_total if last else 0,
            nll=last.nll if last else None,
        )
        path = _beat_path(self._folder, run_id)
        temporary = path.with_name(f".{path.name}.tmp")
        with contextlib.suppress(OSError):  # a full disk is no reason to stop
            temporary.write_text(json.dumps(asdict(heartbeat)), encoding="ascii")
            temporary.replace(path)

    def release(self, run_id: str) -> None:
        """Give a run of ours back.

        Args:
            run_id: The run.
        """
        lock, _ = self._held.pop(run_id)
        self._beaten_s.pop(run_id, None)
        self._progress.pop(run_id, None)
        for path in (_beat_path(self._folder, run_id), lock.path):  # while it is still locked
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        lock.release()


def read_claims(folder: SweepFolder) -> dict[str, Heartbeat]:
    """Find the runs that commands are running now, on this machine or, with locks that reach that far, on others.

    Args:
        folder: The sweep's folder.

    Returns:
        By run_id, what was last said; claims of commands that have died are left out.
    """
    found: dict[str, Heartbeat] = {}
    for path in sorted(folder.claims.glob("*.json")) if folder.claims.is_dir() else []:
        try:
            heartbeat = Heartbeat(**json.loads(path.read_text(encoding="ascii")))
        except (OSError, ValueError, TypeError):
            continue
        if _is_held(_lock_path(folder.claims, path.stem), heartbeat=heartbeat):
            found[path.stem] = heartbeat
    return found


def _is_held(path: Path, *, heartbeat: Heartbeat) -> bool:
    """Whether somebody has a lock on a file; a reader leaves no file where there was none."""
    if not path.exists():
        return False
    lock = Lock(path)
    try:
        if not lock.try_acquire(is_shared=True):
            return True
    except OSError:
        return heartbeat.age_s() < SILENT_S  # no locks here: take the heartbeat's word, for a while
    lock.release()
    return False


def _lock_path(claims: Path, run_id: str) -> Path:
    return claims / f"{run_id}.lock"


def _beat_path(claims: Path, run_id: str) -> Path:
    return claims / f"{run_id}.json"
