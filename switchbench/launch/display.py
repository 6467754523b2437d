"""What a person sees of a running sweep: live bars on a terminal, plain lines anywhere else. All of it on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from switchbench.launch.events import (
    Event,
    Listener,
    Preparing,
    RunElsewhere,
    RunEnded,
    RunRetried,
    RunStarted,
    SweepStarted,
    TimingEnded,
    TimingProgressed,
    Warned,
)
from switchbench.launch.tally import RunningRun, Tally
from switchbench.record import FINAL_STATUSES
from switchbench.units import count, duration

HEARTBEAT_S = 60.0
"""Without a terminal: longest time without a line."""
WIDE, MEDIUM = 90, 60
"""Columns from which on a run's row has a bar and a rate, or a short bar alone."""


@contextmanager
def watching(*, stream: TextIO | None = None) -> Iterator[Listener]:
    """Show what happens: give the listener for a sweep's events.

    Args:
        stream: Where it is shown; None: stderr. On a terminal that can move its cursor: live bars.
    """
    stream = sys.stderr if stream is None else stream
    console = Console(file=stream, highlight=False)
    if not stream.isatty() or console.is_dumb_terminal:
        yield PlainDisplay(stream)
        return
    display = LiveDisplay(console)
    with Live(console=console, get_renderable=display.render, refresh_per_second=4, transient=True):
        yield display


class PlainDisplay:
    """One line per change of state, and a heartbeat.

    Args:
        stream: Takes the lines.
        clock: Returns seconds; only differences are used.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._tally = Tally(clock)
        self._started = self._last_line = clock()

    def __call__(self, event: Event) -> None:
        """Take an event, and write a line if it is worth one."""
        before = self._tally.preparing
        is_first_of_timing = isinstance(event, TimingProgressed) and self._tally.timing is None
        self._tally.take(event)
        if isinstance(event, Preparing):
            is_new = (before is None or before.what != event.what) and event.fraction != 1.0
            line = f"{event.what} ..." if is_new else None
        elif isinstance(event, TimingProgressed):
            line = f"timing {_configurations(event.configurations)}, one at a time" if is_first_of_timing else None
        else:
            line = line_of(event, tally=self._tally)
        if line is None and self._clock() - self._last_line >= HEARTBEAT_S:
            line = state_of(self._tally)
        if line is not None:
            self._last_line = self._clock()
            minutes, seconds = divmod(int(self._last_line - self._started), 60)
            print(f"[{minutes:d}:{seconds:02d}] {line}", file=self._stream, flush=True)


class LiveDisplay:
    """A row per run under way and one for the whole sweep, redrawn in place; ended runs scroll up above them.

    Args:
        console: The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self._tally.take(event)
        line = None if isinstance(event, SweepStarted | RunStarted) else line_of(event, tally=self._tally)
        if line is not None:
            bad = isinstance(event, Warned | RunRetried) or (
                isinstance(event, RunEnded) and event.status not in FINAL_STATUSES
            )
            self._console.print(Text(line, style="red" if bad else ""))

    def render(self) -> RenderableType:
        """Draw the present state."""
        tally, width = self._tally, self._console.width
        if tally.timing is not None:
            what = f"timing {_configurations(tally.timing.configurations)}, one at a time"
            return _row(what, fraction=tally.timing.fraction, width=width)
        if tally.preparing is not None:
            return _row(tally.preparing.what, fraction=tally.preparing.fraction, width=width)
        if tally.ended == tally.total:
            return Text("")
        running = list(tally.running.values())
        shown = running[: max(self._console.height - 4, 1)]
        table = Table.grid(padding=(0, 1))
        for run in shown:
            _add_run(table, run, width=width)
        more = [Text(f"and {len(running) - len(shown)} more", style="dim")] if len(shown) < len(running) else []
        return Group(table, *more, _row(state_of(tally, in_short=width < WIDE), fraction=tally.fraction, width=width))


def line_of(event: Event, *, tally: Tally) -> str | None:
    """Put a change of state into one line; None: nothing that is worth one.

    Args:
        event: What happened.
        tally: The state after it.
    """
    match event:
        case SweepStarted():
            side_by_side = f"{event.workers} side by side, " if event.workers > 1 else ""
            threads = "1 thread" if event.threads == 1 else f"{event.threads} threads"
            about = "" if event.estimated_s is None else f"; about {duration(event.estimated_s)} in all"
            return f"{_runs(len(event.cells))} to do on {event.device}: {side_by_side}{threads} each{about}"
        case RunStarted():
            return f"started  {event.cell.label}"
        case RunEnded():
            outcome = "done" if event.status == "ok" else event.status
            quality = f"nll {event.nll:.4f}, " if event.status == "ok" and event.nll is not None else ""
            why = f": {event.reason}" if event.reason else ""
            place = f"({tally.ended} of {tally.total})"
            return f"{outcome:<8} {event.cell.label}: {quality}{duration(event.seconds)} {place}{why}"
        case RunRetried():
            return f"again    {event.text}"
        case RunElsewhere():
            outcome = "runs in another command" if event.status is None else f"{event.status} in another command"
            return f"left     {event.cell.label}: {outcome}"
        case TimingEnded():
            return f"timed    {_configurations(event.configurations)}"
        case Warned():
            return f"warning: {event.text}"
        case _:
            return None


def state_of(tally: Tally, *, in_short: bool = False) -> str:
    """Put the present state into a few words.

    Args:
        tally: The state.
        in_short: Leave out what the rows of the runs show anyway.
    """
    if tally.timing is not None:
        return f"timing {_configurations(tally.timing.configurations)}: {tally.timing.fraction:.0%}"
    if tally.preparing is not None:
        return f"{tally.preparing.what} ..."
    words = [f"{tally.ended} of {_runs(tally.total)}" if not in_short else f"{tally.ended}/{tally.total}"]
    if tally.failed:
        words.append(f"{tally.failed} failed")
    if not in_short:
        words.append(f"{len(tally.running)} running")
    if tally.seconds_left is not None:
        words.append(_left(tally.seconds_left))
    return ", ".join(words)


def _add_run(table: Table, run: RunningRun, *, width: int) -> None:
    label = Text(run.cell.label, overflow="ellipsis", no_wrap=True)
    percent = f"{run.fraction:4.0%}"
    nll = "" if run.nll is None else f"nll {run.nll:.3f}"
    bar = ProgressBar(total=1.0, completed=run.fraction, width=20 if width >= WIDE else 10)
    if width < WIDE:
        table.add_row(label, *([bar] if width >= MEDIUM else []), Text(percent, no_wrap=True), Text(nll, no_wrap=True))
        return
    rate = "" if run.tokens_per_second is None else f"{count(run.tokens_per_second)} tok/s"
    left = "" if run.seconds_left is None else _left(run.seconds_left)
    columns = [Text(text, no_wrap=True) for text in (percent, f"{nll:>9}", f"{rate:>12}", f"{left:>16}")]
    table.add_row(label, bar, *columns)


def _row(text: str, *, fraction: float | None, width: int) -> RenderableType:
    """A bar, and beside it or (on a narrow terminal) below it what it stands for."""
    bar = ProgressBar(
        total=1.0,
        completed=fraction or 0.0,
        pulse=fraction is None,
        width=30 if width >= WIDE else min(20, width - 1),
    )
    percent = "" if fraction is None else f"{fraction:4.0%} "
    grid = Table.grid(padding=(0, 1))
    grid.add_row(bar, Text(f"{percent}{text}", overflow="ellipsis", no_wrap=True))
    return grid


def _left(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s left" if seconds < 59.5 else f"{duration(seconds)} left"


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


def _configurations(number: int) -> str:
    return "1 configuration" if number == 1 else f"{number} configurations"
