"""Keeps an executor busy until every run of a plan has ended: claims, tries again, watches time and memory, stops."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil

from switchbench.launch.checkpoints import keeps_checkpoint
from switchbench.launch.claims import Claims
from switchbench.launch.estimates import Estimates
from switchbench.launch.events import (
    Listener,
    RunElsewhere,
    RunEnded,
    RunProgressed,
    RunRetried,
    RunStarted,
    SweepStarted,
    Ticked,
    Warned,
)
from switchbench.launch.executor import Ended, Executor, Job, Told
from switchbench.launch.plan import PlannedCell, in_starting_order
from switchbench.launch.timing_pass import find_weights
from switchbench.record import FINAL_STATUSES, RunRecord, RunResult, Status
from switchbench.rows import failed_run
from switchbench.spec import smaller_micro_batch
from switchbench.store import read_status, write_run
from switchbench.units import duration, size

TICK_S = 1.0
"""Longest time without an event."""
LOOK_ELSEWHERE_S = 2.0
"""Time between two looks at the runs that other commands are running."""
WATCH_MEMORY_S = 0.5
"""Time between two looks at the memory of the runs: each look takes some milliseconds a run, from the run as well."""
SCARCE_MEMORY = 0.04
"""Share of the machine's memory that must stay available; below it the largest run is ended."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is done about runs that fail, hang or grow."""

    max_tries: int = 3
    """Attempts at a run that is killed, crashes or takes too long, within one command."""
    timeout_s: float | None = None
    """Longest time of an attempt; None: any."""
    memory_bytes: int | None = None
    """Most memory that an attempt may have for itself; None: what the machine has."""
    fail_fast: bool = False
    """Whether no run is started any more once one has failed."""
    grace_s: float = 30.0
    """How long runs may take to keep a checkpoint when the sweep is interrupted."""


@dataclass(kw_only=True)
class _Attempt:
    job: Job
    started_s: float = field(default_factory=time.monotonic)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(kw_only=True)
class _History:
    """What became of earlier attempts at a run in this command."""

    tries: int = 0
    last_reason: str | None = None
    micro_batch_tokens: int | None = None
    spent_s: float = 0.0


class Scheduler:
    """Runs what a plan says is to be run.

    Args:
        estimates: The plan, and what its runs are expected to take.
        executor: Where they are executed.
        claims: Ours and other commands' claims on the runs.
        policy: What is done about failures.
        threads: CPU threads of a run.
        timed: Configurations that need no weights for the timing pass.
        keeps_all: Whether all runs keep their final weights, beside those that ask for it themselves.
        on_event: Told what happens.
        is_interrupted: Whether the sweep is to stop.
    """

    def __init__(
        self,
        estimates: Estimates,
        *,
        executor: Executor,
        claims: Claims,
        policy: Policy,
        threads: int,
        timed: set[str],
        keeps_all: bool = False,
        on_event: Listener,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        plan = estimates.plan
        self._estimates = estimates
        self._sweep, self._folder = plan.sweep.name, plan.folder
        self._executor, self._claims, self._policy = executor, claims, policy
        self._threads, self._on_event, self._is_interrupted = threads, on_event, is_interrupted
        self._waiting = deque(in_starting_order(plan.to_start))
        self._elsewhere: list[PlannedCell] = []
        self._told_elsewhere: set[str] = set()
        self._looked_s = self._weighed_s = -math.inf
        self._running: dict[str, _Attempt] = {}
        self._history: dict[str, _History] = {}
        self._ended: list[RunEnded] = []
        self._keeps_all = keeps_all
        self._has_kept_weights = timed | {
            cell.spec.config_id
            for cell in plan.cells
            if cell.status == "ok" and find_weights(plan.folder, cell.spec.run_id) is not None
        }

    def run(self) -> list[RunEnded]:
        """Run everything; give how each run of ours ended.

        Raises:
            KeyboardInterrupt: the sweep was interrupted; runs have kept checkpoints, and what is finished is kept.
            ResultsFolderError: a result cannot be written; running runs were ended.
        """
        if self._waiting:
            self._on_event(
                SweepStarted(
                    cells=tuple(self._waiting),
                    workers=self._executor.num_slots,
                    threads=self._threads,
                    device=self._executor.device,
                    estimated_s=self._estimates.run_seconds,
                )
            )
        while self._waiting or self._running or self._elsewhere:
            if self._is_interrupted():
                self._stop()
                raise KeyboardInterrupt
            self._start_what_fits()
            for news in self._executor.news(timeout_s=TICK_S):
                self._take(news)
            self._watch()
            self._on_event(Ticked())
        return self._ended

    def _start_what_fits(self) -> None:
        if time.monotonic() - self._looked_s > LOOK_ELSEWHERE_S:
            self._looked_s = time.monotonic()
            self._waiting += self._elsewhere  # another command may have ended, or given up
            self._elsewhere.clear()
        while self._waiting and self._executor.has_room():
            cell = self._waiting.popleft()
            run_id = cell.spec.run_id
            if not self._claims.try_claim(run_id):
                self._elsewhere.append(cell)
                if run_id not in self._told_elsewhere:
                    self._told_elsewhere.add(run_id)
                    self._on_event(RunElsewhere(cell=cell, status=None))
                continue
            status = read_status(self._folder, run_id, with_curve=True)
            if status in FINAL_STATUSES and cell.action != "rerun":
                self._claims.release(run_id)
                self._on_event(RunElsewhere(cell=cell, status=status))
                continue
            self._start(cell)

    def _start(self, cell: PlannedCell) -> None:
        run_id, config_id = cell.spec.run_id, cell.spec.config_id
        history = self._history.setdefault(run_id, _History())
        history.tries += 1
        weights = None
        if keeps_checkpoint(cell, folder=self._folder, keeps_all=self._keeps_all):
            weights = self._folder.checkpoint_path(run_id)
        elif config_id not in self._has_kept_weights and cell.cell.role != "tuning":
            # Configurations are timed with the weights of a reported run.
            weights = self._folder.timing_weights_path(run_id)
        if weights is not None and cell.cell.role != "tuning":
            self._has_kept_weights.add(config_id)
        job = Job(
            cell=cell,
            log_path=self._folder.log_path(run_id),
            weights=weights,
            unfinished=self._folder.unfinished_path(run_id),
            micro_batch_tokens=history.micro_batch_tokens,
        )
        self._running[run_id] = _Attempt(job=job)
        self._executor.start(job)
        self._on_event(RunStarted(cell=cell))

    def _take(self, news: Told | Ended) -> None:
        attempt = self._running.get(news.job.run_id)
        if attempt is None or attempt.job is not news.job:
            return  # the last words of an attempt that was ended
        if isinstance(news, Ended):
            self._finish(attempt, news)
            return
        progress = news.progress
        self._claims.beat(news.job.run_id, progress=progress)
        self._on_event(
            RunProgressed(
                cell=news.job.cell,
                tokens_done=progress.tokens_done,
                tokens_total=progress.tokens_total,
                nll=progress.nll,
            )
        )

    def _finish(self, attempt: _Attempt, news: Ended) -> None:
        """Try again, or write the row."""
        job, cell = attempt.job, attempt.job.cell
        history = self._history[job.run_id]
        history.spent_s += time.monotonic() - attempt.started_s
        del self._running[job.run_id]
        result = news.result
        if result is None:
            row = failed_run(cell.spec, sweep=self._sweep, status=news.status, reason=news.reason)
            result = RunResult(runs=[row], steps=[])
        end = next(row for row in result.runs if row.parent_run_id is None)
        if job.weights is not None and end.status != "ok":
            self._has_kept_weights.discard(cell.spec.config_id)  # the next attempt, or the next seed, keeps its own
            if cell.status != "ok" or end.status in FINAL_STATUSES:  # else they are those of a result that stays
                job.weights.unlink(missing_ok=True)
        if self._is_tried_again(job, end, history):
            history.last_reason = end.reason
            self._waiting.appendleft(cell)
            self._claims.release(job.run_id)
            return
        self._write(attempt, result)
        job.unfinished.unlink(missing_ok=True)
        self._claims.release(job.run_id)
        if self._policy.fail_fast and end.status not in FINAL_STATUSES:
            self._waiting.clear()
            self._elsewhere.clear()

    def _is_tried_again(self, job: Job, end: RunRecord, history: _History) -> bool:
        label = job.cell.label
        if end.status == "oom":
            smaller = smaller_micro_batch(job.cell.spec, job.micro_batch_tokens)
            if smaller is not None:
                history.micro_batch_tokens = smaller
                history.tries = 0
                self._on_event(
                    RunRetried(
                        cell=job.cell, text=f"{label}: out of memory; again in micro-batches of {smaller} tokens"
                    )
                )
            return smaller is not None
        if end.status in FINAL_STATUSES or history.tries >= self._policy.max_tries:
            return False
        if history.tries > 1 and end.reason == history.last_reason and end.status == "crashed":
            return False  # a fault of the program, not of the day
        text = f"{label}: {end.reason or end.status}; tried again ({history.tries + 1} of {self._policy.max_tries})"
        self._on_event(RunRetried(cell=job.cell, text=text))
        return True

    def _write(self, attempt: _Attempt, result: RunResult) -> None:
        job, cell = attempt.job, attempt.job.cell
        known: dict[str, object] = {
            **self._executor.known_columns(job),
            "started_at": attempt.started_at,
            "threads": self._threads,
            "precision": cell.spec.train.precision,
        }
        expected: dict[str, object] = {
            "estimated_time_s": self._estimates.seconds(cell),
            "estimated_peak_memory_bytes": cell.memory_bytes,
        }
        rows = [_filled_in(row, known | (expected if row.parent_run_id is None else {})) for row in result.runs]
        end = next(row for row in rows if row.parent_run_id is None)
        if not write_run(self._folder, runs=rows, steps=result.steps, spec=cell.spec):
            self._on_event(Warned(text=f"{cell.label}: the result that was there is kept"))
        event = RunEnded(
            cell=cell,
            status=end.status,
            reason=end.reason,
            nll=end.nll,
            seconds=self._history[job.run_id].spent_s,
            log_path=str(job.log_path),
        )
        self._ended.append(event)
        self._on_event(event)

    def _watch(self) -> None:
        """End attempts that take too long or too much."""
        for attempt in list(self._running.values()):
            self._claims.beat(attempt.job.run_id, progress=None)
            taken_s = time.monotonic() - attempt.started_s
            if self._policy.timeout_s is not None and taken_s > self._policy.timeout_s:
                self._end(attempt, "timeout", f"took longer than {duration(self._policy.timeout_s)}")
        if time.monotonic() - self._weighed_s < WATCH_MEMORY_S:
            return
        self._weighed_s = time.monotonic()
        memory = {run_id: self._executor.memory_bytes(attempt.job) for run_id, attempt in self._running.items()}
        known = {run_id: used for run_id, used in memory.items() if used is not None}
        for run_id, used in known.items():
            if self._policy.memory_bytes is not None and used > self._policy.memory_bytes:
                limit = size(self._policy.memory_bytes)
                self._end(self._running[run_id], "oom", f"grew to {size(used)} of memory; the limit is {limit}")
        still = {run_id: used for run_id, used in known.items() if run_id in self._running}
        if still and _memory_is_scarce():
            largest = max(still, key=still.__getitem__)
            self._end(
                self._running[largest], "oom", f"grew to {size(still[largest])} of memory, and the machine ran short"
            )

    def _end(self, attempt: _Attempt, status: Status, reason: str) -> None:
        self._executor.end(attempt.job)
        self._finish(attempt, Ended(job=attempt.job, status=status, reason=reason))

    def _stop(self) -> None:
        """Let runs keep checkpoints, for a while; results that come meanwhile are kept."""
        self._waiting.clear()
        self._executor.stop([attempt.job for attempt in self._running.values()])
        deadline_s = time.monotonic() + self._policy.grace_s
        while self._running and time.monotonic() < deadline_s:
            for news in self._executor.news(timeout_s=TICK_S):
                if isinstance(news, Ended) and news.result is None:
                    self._running.pop(news.job.run_id, None)
                else:
                    self._take(news)
            self._on_event(Ticked())
        for attempt in self._running.values():
            self._executor.end(attempt.job)


def _memory_is_scarce() -> bool:
    memory = psutil.virtual_memory()
    return bool(memory.available < SCARCE_MEMORY * memory.total)


def _filled_in(row: RunRecord, known: Mapping[str, object]) -> RunRecord:
    """Fill in what the process of a run could not tell, because it died or failed early."""
    return row.model_copy(update={name: value for name, value in known.items() if getattr(row, name) is None})
