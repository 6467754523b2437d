"""Ctrl-C while runs are running, and SIGTERM, which is taken for it: the first is a request, the second is not."""

import signal
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def first_interrupt_noted() -> Iterator[Callable[[], bool]]:
    """Note a first Ctrl-C instead of raising it: give the function that says whether there was one."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: types.FrameType | None) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def termination_interrupts() -> Iterator[Callable[[], bool]]:
    """Take SIGTERM for Ctrl-C: give the function that says whether there was one."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        noted.append(number)
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # Ctrl-C is ignored, as in the background of a script
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGTERM, before)
