import dataclasses
import io
from collections.abc import Callable

import pytest
from rich.console import Console

from switchbench.launch.display import HEARTBEAT_S, LiveDisplay, PlainDisplay, watching
from switchbench.launch.events import (
    Event,
    Preparing,
    RunEnded,
    RunProgressed,
    RunStarted,
    SweepStarted,
    Ticked,
    TimingEnded,
    TimingProgressed,
    Warned,
)
from switchbench.launch.plan import Plan, PlannedCell
from switchbench.launch.tally import Tally

PlanOf = Callable[..., Plan]


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def started(cells: tuple[PlannedCell, ...]) -> SweepStarted:
    return SweepStarted(cells=cells, workers=2, threads=1, device="cpu")


def progressed(cell: PlannedCell, *, share: float, nll: float | None = None) -> RunProgressed:
    return RunProgressed(cell=cell, tokens_done=int(1000 * share), tokens_total=1000, nll=nll)


def ended(cell: PlannedCell, *, status: str = "ok", reason: str | None = None) -> RunEnded:
    nll = 1.5 if status == "ok" else None
    return RunEnded(cell=cell, status=status, reason=reason, nll=nll, seconds=75.0, log_path="logs/x.log")


def test_the_time_left_follows_the_flops(plan_of: PlanOf, clock: Clock) -> None:
    cells = plan_of(seeds=[0]).cells
    flops = [cell.cost.trained_flops.useful for cell in cells]
    tally = Tally(clock)
    tally.take(started(cells))
    tally.take(RunStarted(cell=cells[0]))
    tally.take(progressed(cells[0], share=0.5))
    clock.now += 1.0
    assert tally.seconds_left is None  # too early to tell
    clock.now += 9.0
    done, total = 0.5 * flops[0], sum(flops)
    assert tally.seconds_left == pytest.approx(10.0 * (total - done) / done)
    assert tally.fraction == pytest.approx(done / total)
    assert tally.running[cells[0].spec.run_id].tokens_per_second == pytest.approx(50.0)
    assert tally.running[cells[0].spec.run_id].seconds_left == pytest.approx(10.0)


def test_before_anything_is_computed_the_time_left_is_what_was_estimated(plan_of: PlanOf, clock: Clock) -> None:
    cells = plan_of(seeds=[0]).cells
    tally = Tally(clock)
    tally.take(dataclasses.replace(started(cells), estimated_s=60.0))
    clock.now += 20.0
    assert tally.seconds_left == 40.0
    clock.now += 50.0
    assert tally.seconds_left == 0.0
    tally.take(RunStarted(cell=cells[0]))
    tally.take(progressed(cells[0], share=0.5))
    assert tally.seconds_left is not None
    assert tally.seconds_left > 70.0  # half of one run of three took 70 s


def test_a_second_stage_adds_its_runs_and_is_timed_on_its_own(plan_of: PlanOf, clock: Clock) -> None:
    tries, reported = plan_of(seeds=[0]).cells, plan_of(seeds=[1]).cells
    tally = Tally(clock)
    tally.take(started(tries))
    for cell in tries:
        tally.take(RunStarted(cell=cell))
        tally.take(ended(cell))
    clock.now += 1000
    tally.take(started(reported))
    assert (tally.ended, tally.total, tally.fraction) == (3, 6, 0)
    tally.take(RunStarted(cell=reported[0]))
    tally.take(progressed(reported[0], share=0.5))
    clock.now += 10
    flops = [cell.cost.trained_flops.useful for cell in reported]
    assert tally.seconds_left == pytest.approx(10 * (sum(flops) - flops[0] / 2) / (flops[0] / 2))


def test_a_failed_run_counts_for_what_it_computed(plan_of: PlanOf, clock: Clock) -> None:
    cells = plan_of(seeds=[0]).cells
    flops = [cell.cost.trained_flops.useful for cell in cells]
    tally = Tally(clock)
    tally.take(started(cells))
    for cell in cells[:2]:
        tally.take(RunStarted(cell=cell))
        tally.take(progressed(cell, share=0.25))
    tally.take(ended(cells[0], status="killed", reason="killed by SIGKILL"))
    clock.now += 10.0
    done = 0.25 * (flops[0] + flops[1])
    assert tally.seconds_left == pytest.approx(10.0 * (0.75 * flops[1] + flops[2]) / done)
    assert (tally.ended, tally.failed, tally.total) == (1, 1, 3)


def test_plain_lines_one_per_change_of_state(plan_of: PlanOf, clock: Clock) -> None:
    cells = plan_of(seeds=[0]).cells
    out = io.StringIO()
    display = PlainDisplay(out, clock=clock)
    display(Preparing(what="reading the corpus", fraction=0.1))
    display(Preparing(what="reading the corpus", fraction=0.9))
    display(Preparing(what="corpus ready", fraction=1.0))
    display(started(cells))
    display(RunStarted(cell=cells[0]))
    display(progressed(cells[0], share=0.5, nll=2.25))
    clock.now += 75
    display(ended(cells[0]))
    display(RunStarted(cell=cells[1]))
    display(ended(cells[1], status="killed", reason="killed by SIGKILL"))
    display(Warned(text="something"))
    display(TimingProgressed(configurations=3, fraction=0.0))
    display(TimingProgressed(configurations=3, fraction=0.5))
    display(TimingEnded(configurations=3))
    assert out.getvalue().splitlines() == [
        "[0:00] reading the corpus ...",
        "[0:00] 3 runs to do on cpu: 2 side by side, 1 thread each",
        "[0:00] started  2 experts, seed 0",
        "[1:15] done     2 experts, seed 0: nll 1.5000, 1 min 15 s (1 of 3)",
        "[1:15] started  4 experts, seed 0",
        "[1:15] killed   4 experts, seed 0: 1 min 15 s (2 of 3): killed by SIGKILL",
        "[1:15] warning: something",
        "[1:15] timing 3 configurations, one at a time",
        "[1:15] timed    3 configurations",
    ]


def test_a_heartbeat_when_nothing_changes(plan_of: PlanOf, clock: Clock) -> None:
    cells = plan_of(seeds=[0]).cells
    out = io.StringIO()
    display = PlainDisplay(out, clock=clock)
    for event in (started(cells), RunStarted(cell=cells[0]), progressed(cells[0], share=0.5)):
        display(event)
    before = len(out.getvalue().splitlines())
    for _ in range(int(2.5 * HEARTBEAT_S)):
        clock.now += 1.0
        display(Ticked())
    beats = out.getvalue().splitlines()[before:]
    assert [beat.partition(" ")[0] for beat in beats] == ["[1:00]", "[2:00]"]
    assert "0 of 3 runs, 1 running, " in beats[0]
    assert beats[0].endswith(" left")


def test_without_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take anything for a terminal
    out = io.StringIO()
    with watching(stream=out) as on_event:
        on_event(Warned(text="something"))
    assert out.getvalue() == "[0:00] warning: something\n"


def screen(events: list[Event], *, width: int, height: int = 24) -> list[str]:
    """What a terminal shows after the events."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    display = LiveDisplay(console)
    for event in events:
        display(event)
    console.print(display.render())
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [120, 80, 40, 20])
def test_every_row_fits(plan_of: PlanOf, width: int) -> None:
    cells = plan_of(seeds=[0, 1]).cells
    events: list[Event] = [started(cells), *(RunStarted(cell=cell) for cell in cells[:3])]
    events += [progressed(cell, share=0.5, nll=2.25) for cell in cells[:3]]
    lines = screen(events, width=width)
    assert all(len(line) <= width for line in lines)
    assert len(lines) == 4  # a row per run under way, and one for the sweep


def test_a_run_shows_settings_share_and_quality(plan_of: PlanOf) -> None:
    cells = plan_of(seeds=[0, 1]).cells
    events: list[Event] = [started(cells), RunStarted(cell=cells[0]), progressed(cells[0], share=0.5, nll=2.25)]
    run, sweep = screen(events, width=120)
    for words in ("2 experts, seed 0", "50%", "nll 2.250"):
        assert words in run
    assert "0 of 6 runs, 1 running" in sweep
    assert "50%" in screen(events, width=40)[0]


@pytest.mark.parametrize(("width", "bar"), [(120, 20), (90, 20), (89, 10), (80, 10), (60, 10), (59, 0)])
def test_a_run_has_a_bar_where_there_is_room(plan_of: PlanOf, width: int, bar: int) -> None:
    cells = plan_of(seeds=[0]).cells
    events = [started(cells), RunStarted(cell=cells[0]), progressed(cells[0], share=0.5, nll=2.25)]
    run = screen(events, width=width)[0]
    assert run.count("━") == bar // 2  # without colors, what is left to do is blank
    assert "2 experts, seed 0" in run
    assert "50%" in run


def test_more_runs_than_lines(plan_of: PlanOf) -> None:
    cells = plan_of(seeds=list(range(10))).cells
    lines = screen([started(cells), *(RunStarted(cell=cell) for cell in cells)], width=80, height=12)
    assert len(lines) == 10
    assert "and 22 more" in lines[-2]
    assert "0/30" in lines[-1]


def test_ended_runs_scroll_up_and_failures_say_why(plan_of: PlanOf) -> None:
    cells = plan_of(seeds=[0]).cells
    events: list[Event] = [
        started(cells),
        RunStarted(cell=cells[0]),
        RunStarted(cell=cells[1]),
        ended(cells[0]),
        ended(cells[1], status="crashed", reason="a [bracketed] reason"),
    ]
    lines = screen(events, width=120)
    assert lines[0] == "done     2 experts, seed 0: nll 1.5000, 1 min 15 s (1 of 3)"
    assert "a [bracketed] reason" in lines[1]
    assert "2 of 3 runs, 1 failed" in lines[-1]


def test_the_timing_pass_has_a_bar() -> None:
    (line,) = screen([TimingProgressed(configurations=2, fraction=0.25)], width=80)
    assert "25% timing 2 configurations, one at a time" in line
