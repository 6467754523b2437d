"""Runs as jobs of Slurm, submitted with submitit: an array job of everything that is to be run.

Orders and parcels travel as submitit's pickles, in a hidden folder under the sweep's own that is removed at the end;
they are transport, never results. What runs say of their progress, and the request to stop, are small files there:
Slurm's machines share a file system.
"""

import contextlib
import json
import math
import pickle
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import submitit
from submitit.core.utils import FailedJobError

from switchbench.errors import SwitchbenchError, UsageError
from switchbench.launch.clusters.errand import Errand, Parcel, Timings, open_parcel
from switchbench.launch.clusters.slurm_jobs import ALIVE, FileBoard, run_there, time_there
from switchbench.launch.events import Listener, Preparing, Ticked
from switchbench.launch.executor import Ended, Job, Told
from switchbench.launch.messages import Machine, Progress, TimingItem
from switchbench.record import Status
from switchbench.store import SweepFolder

POLL_S = 0.5
"""Time between two looks at the jobs while there is nothing new."""
LOOK_AT_STATES_S = 30.0
"""Time between two questions to Slurm what became of the jobs; those that end well say so themselves."""
PATIENCE_S = 15.0
"""How long the file system may take to show the result of a job that has ended."""
PREPARATION_MIN = 10
"""What a job may take longer than its run."""
_STATUSES: Mapping[str, Status] = {"TIMEOUT": "timeout", "OUT_OF_MEMORY": "oom", "FAILED": "crashed"}
"""Of Slurm's states; in every other one the job was ended from outside."""


@dataclass(kw_only=True)
class _Submitted:
    """A job of Slurm."""

    slurm_job: Any
    done_s: float | None = None
    """When it was first seen to have ended without a result."""


@dataclass(kw_only=True)
class _Running:
    job: Job
    attempt: str
    submitted: _Submitted | None = None
    machine: Machine | None = None
    last_told: str = ""


class SlurmExecutor:
    """Executes attempts as jobs of Slurm; to be used in a ``with`` block, which removes the transport's folder.

    Args:
        errand: What all orders have in common; the device ``auto`` means ``cpu``, since the command cannot look.
        folder: The sweep's folder.
        workers: Runs side by side; None: as many as Slurm lets.
        num_runs: Runs to come.
        options: Options of ``sbatch``.
        cluster: ``slurm``; ``local``: processes of this machine in its place.

    Raises:
        UsageError: Slurm is not here, or does not know an option.
    """

    def __init__(
        self,
        errand: Errand,
        *,
        folder: SweepFolder,
        workers: int | None,
        num_runs: int,
        options: Mapping[str, str],
        cluster: Literal["slurm", "local"] = "slurm",
    ) -> None:
        setup = errand.setup
        self.device = "cuda" if setup.device == "cuda" else "cpu"
        self.num_slots = min(workers or num_runs, num_runs) or 1
        self._errand = replace(errand, setup=replace(setup, device=self.device))
        self._folder = folder.path.resolve() / f".slurm-{errand.mark_content}"
        self._folder.mkdir()
        self._running, self._num_attempts = list[_Running](), 0
        self._looked_s = time.monotonic()
        self._machines: dict[str, Machine] = {}
        try:
            self._submit = self._executor(cluster, options=options)
            self._submit_alone = self._executor(cluster, options=options, alone=True)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Take back what is left, and remove the transport's folder."""
        for run in self._running:
            _cancel(run.submitted)
        shutil.rmtree(self._folder, ignore_errors=True)

    def has_room(self) -> bool:
        """Always: Slurm keeps the queue, and the number side by side."""
        return True

    def start(self, job: Job) -> None:
        """Note an attempt; all that are noted are submitted together."""
        self._num_attempts += 1
        self._running.append(_Running(job=job, attempt=f"{job.run_id}-{self._num_attempts}"))

    def news(self, *, timeout_s: float) -> list[Told | Ended]:
        """Submit what was noted; give what jobs have told, and which have ended."""
        self._submit_noted()
        deadline_s = time.monotonic() + timeout_s
        while True:
            (self._folder / ALIVE).write_text("", encoding="ascii")
            if self._running and time.monotonic() - self._looked_s > LOOK_AT_STATES_S:
                self._looked_s = time.monotonic()
                _look_at_states(self._running[0].submitted)  # of all jobs at once
            news: list[Told | Ended] = []
            for run in list(self._running):
                news += self._told(run)
                if (ended := self._ended(run)) is not None:
                    self._running.remove(run)
                    news.append(ended)
            if news or time.monotonic() >= deadline_s:
                return news
            time.sleep(max(min(deadline_s - time.monotonic(), POLL_S), 0.0))

    def memory_bytes(self, job: Job) -> int | None:
        """Not known here: the machine of the run watches its memory."""
        return None

    def known_columns(self, job: Job) -> Mapping[str, object]:
        """Give the columns of the machine that the run was on, if it had told."""
        machine = self._machines.get(job.run_id)
        return {} if machine is None else machine.provenance

    def stop(self, jobs: Sequence[Job]) -> None:
        """Ask with a file; what has not started is taken back."""
        for run in self._running:
            if run.job in jobs:
                (self._folder / f"{run.attempt}.stop").touch()
                if run.machine is None:
                    _cancel(run.submitted)

    def end(self, job: Job) -> None:
        """Cancel the job."""
        for run in list(self._running):
            if run.job is job:
                _cancel(run.submitted)
                self._running.remove(run)

    def measure(self, items: Sequence[TimingItem], *, on_event: Listener) -> Timings:
        """Measure step times in a job that has a machine for itself.

        Args:
            items: What to time.
            on_event: Told that there is a wait.
        """
        on_event(Preparing(what="waiting for a machine of the cluster, to measure step times"))
        submitted = _Submitted(slurm_job=_accepted(lambda: self._submit_alone.submit(time_there, items, self._errand)))
        try:
            while (outcome := _outcome(submitted)) is None:
                (self._folder / ALIVE).write_text("", encoding="ascii")
                on_event(Ticked())
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            _cancel(submitted)
            raise
        if isinstance(outcome, Timings):
            return outcome
        return Timings(warnings=(f"the step times were not measured: {outcome[1]}",))

    def _executor(self, cluster: str, *, options: Mapping[str, str], alone: bool = False) -> Any:
        minutes = options.get("time")
        if minutes is None and self._errand.timeout_s is not None:
            minutes = str(PREPARATION_MIN + math.ceil(self._errand.timeout_s / 60))
        if minutes is None:
            raise UsageError(
                "Slurm ends jobs after a time that it must be told: give the longest time of a run, as in --timeout "
                "2h, or of a job, as in --slurm time=150 (minutes)"
            )
        if not minutes.isdigit():
            raise UsageError(f"--slurm time={minutes}: takes minutes, a whole number")
        rest = {f"slurm_{key}": int(value) if value.isdigit() else value for key, value in options.items()}
        rest.pop("slurm_time", None)
        if alone:
            rest["slurm_exclusive"] = True
        try:
            executor = submitit.AutoExecutor(folder=self._folder / "jobs", cluster=cluster)
            executor.update_parameters(
                name="switchbench",
                timeout_min=int(minutes),
                cpus_per_task=self._errand.setup.threads,
                gpus_per_node=1 if self.device == "cuda" else 0,
                slurm_array_parallelism=self.num_slots,
                **rest,
            )
        except RuntimeError as error:
            raise UsageError(
                f"Slurm cannot be used from here: {error} Run the command where `sbatch` and `srun` are"
            ) from error
        except (ValueError, TypeError, NameError) as error:
            said = str(error).strip().splitlines()
            raise UsageError(f"--slurm: {' '.join(line.strip() for line in said)}") from error
        return executor

    def _submit_noted(self) -> None:
        noted = [run for run in self._running if run.submitted is None]
        if not noted:
            return

        def submit() -> list[Any]:
            with self._submit.batch():
                return [
                    self._submit.submit(
                        run_there, run.job, self._errand, FileBoard(folder=self._folder, attempt=run.attempt)
                    )
                    for run in noted
                ]

        for run, slurm_job in zip(noted, _accepted(submit), strict=True):
            run.submitted = _Submitted(slurm_job=slurm_job)

    def _told(self, run: _Running) -> list[Told]:
        try:
            text = (self._folder / f"{run.attempt}.told").read_text(encoding="utf-8")
        except OSError:
            return []
        if text == run.last_told:
            return []
        run.last_told, words = text, json.loads(text)
        run.machine = self._machines[run.job.run_id] = Machine(**words["machine"])
        return [Told(job=run.job, progress=Progress(**words["progress"]))] if "progress" in words else []

    def _ended(self, run: _Running) -> Ended | None:
        outcome = None if run.submitted is None else _outcome(run.submitted)
        if run.submitted is None or outcome is None:
            return None
        if isinstance(outcome, Parcel):
            return open_parcel(run.job, outcome)
        status, reason = outcome
        said = _content_of(run.submitted.slurm_job.paths.stderr)
        return open_parcel(run.job, Parcel(status=status, reason=reason, log=said))


def _outcome(submitted: _Submitted) -> Any:
    """What a job gave back; or how it ended without, and why; None: it has not ended."""
    job = submitted.slurm_job
    if not job.done():
        return None
    if job.paths.result_pickle.exists():
        try:
            outcome, value = pickle.loads(job.paths.result_pickle.read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError):  # not all of it is there yet
            return None
        if outcome == "success":
            return value
        last = [line.strip() for line in value.splitlines() if line.strip()][-1]
        if "timed-out" in last:
            return "timeout", "took longer than Slurm was told"
        return "crashed", f"could not be supervised: {last}"
    submitted.done_s = time.monotonic() if submitted.done_s is None else submitted.done_s
    state = str(job.state).split()[0]
    if time.monotonic() - submitted.done_s < PATIENCE_S and state in ("COMPLETED", "FINISHED"):
        return None
    return _STATUSES.get(state, "killed"), f"its job of Slurm ended without a result: {state}"


def _look_at_states(submitted: _Submitted | None) -> None:
    """Ask Slurm; submitit by itself asks less and less often, after a while every ten minutes."""
    if submitted is not None:
        submitted.slurm_job.done(force_check=True)


def _accepted(submit: Callable[[], Any]) -> Any:
    """Submit, with Slurm's refusal as an error of ours."""
    try:
        return submit()
    except (FailedJobError, OSError) as error:
        said = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise SwitchbenchError(f"Slurm took no job: {said}. What is finished is kept") from error


def _cancel(submitted: _Submitted | None) -> None:
    if submitted is not None:
        with contextlib.suppress(OSError):  # no answer; the job notices that we are gone
            submitted.slurm_job.cancel(check=False)


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
