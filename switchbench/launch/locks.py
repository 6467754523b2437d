"""Locks between commands: nobody else's runs, and no training while step times are measured on the machine.

A lock is held through an open file, so it is given back however its holder ends; the file stays, and means nothing by
itself. Locks of the machine lie in the folder for temporary files, where every user's commands find them.
"""

import errno
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from switchbench.launch.events import Listener, Preparing, Warned

if sys.platform == "win32":
    from filelock import FileLock, Timeout
else:
    import fcntl

MACHINE_LOCK_NAME = "switchbench-machine.lock"
"""Shared by all commands that train, held alone by the one that measures step times."""
POLL_S = 0.5
"""Time between two looks at a lock that another command holds."""


class Lock:
    """An advisory lock on a file, shared or not, between processes.

    Windows has no shared one: there it locks nothing, and step times may be measured beside another sweep's training.

    Args:
        path: The file; made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The file."""
        self._descriptor: int | None = None
        if sys.platform == "win32":
            self._exclusive = FileLock(path)

    def try_acquire(self, *, is_shared: bool = False) -> bool:
        """Take the lock unless somebody has it; says whether it is ours.

        Args:
            is_shared: Whether others may share it.

        Raises:
            OSError: the file cannot be made or locked.
        """
        if sys.platform == "win32":
            try:
                if not is_shared:
                    self._exclusive.acquire(timeout=0)
            except Timeout:
                return False
        else:
            descriptor = _open(self.path)
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    return False
                raise
            if not _is_file_of(descriptor, self.path):  # its last holder has removed it meanwhile
                os.close(descriptor)
                return False
            self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back; does nothing where it is not held."""
        if sys.platform == "win32":
            self._exclusive.release()
        elif self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def on_this_machine(*, alone: bool, on_event: Listener) -> Iterator[Lock]:
    """Wait until the machine is ours: beside other commands' training, or alone for the timing pass.

    Nobody waits here with a lock in hand, so there is no deadlock; whoever wants to be alone waits until all others
    have finished training.

    Args:
        alone: Whether no other command may train meanwhile.
        on_event: Told that there is a wait.

    Yields:
        The lock, to be released early.
    """
    lock = Lock(Path(tempfile.gettempdir()) / MACHINE_LOCK_NAME)
    waiting = "waiting for other runs on this machine" if alone else "waiting for a timing pass on this machine"
    try:
        while not lock.try_acquire(is_shared=not alone):
            on_event(Preparing(what=waiting))
            time.sleep(POLL_S)
    except OSError as error:
        on_event(Warned(text=f"going on without the machine-wide lock {lock.path}: {error.strerror or error}"))
    try:
        yield lock
    finally:
        lock.release()


def _is_file_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # another user's file, which may still be locked
        return os.open(path, os.O_RDONLY)
