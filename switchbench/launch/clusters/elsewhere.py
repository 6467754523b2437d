"""A run on another machine, as it is seen there: supervised on behalf of a command that may be far away.

A run is a process of its own, forked from a warm server, as on this machine; the process that supervises it
prepares the corpus, watches time and memory, and says how the run ended. Cores and locks are shared with other
commands there. Log, weights and checkpoint go straight to the results where that folder is shared between the machines;
where it is not, log and weights come back with the rows, and there is no checkpoint.
"""

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from switchbench import __version__
from switchbench.data.corpora import prepare_corpus
from switchbench.errors import CorpusError, SwitchbenchError
from switchbench.launch.clusters.errand import Errand, Parcel, Timings, shares_folder
from switchbench.launch.events import Event, TimingProgressed, Warned
from switchbench.launch.executor import Ended, Job
from switchbench.launch.forkserver import warm_server
from switchbench.launch.local import LocalExecutor
from switchbench.launch.locks import on_this_machine
from switchbench.launch.messages import Machine, Progress, TimingItem
from switchbench.launch.preparation import WorkerFunctions, probe_machine
from switchbench.launch.slots import Slot, claimed_cores, usable_cores
from switchbench.launch.timing_pass import measure_items
from switchbench.spec import RunSpec
from switchbench.units import duration, size

TELL_S = 1.0
"""Time between two words to the command."""
STOP_PATIENCE_S = 20.0
"""How long a run may take to keep a checkpoint when its supervisor is ended."""
MOST_LOG_BYTES = 1 << 20
"""Most of a log that is sent back: its end."""
MOST_WEIGHTS_BYTES = 1 << 30
"""Most weights that are sent back; larger ones are not kept, and the step times then measured with fresh ones."""
STOPPED = "stopped"

Tell = Callable[[Machine | Progress | None], bool]
"""Tells the command which machine a run is on and how far it is; says whether the run is to stop."""


class _StopAskedError(Exception):
    """The command wants the run to stop, which has not started yet."""


def carry_out(job: Job, *, errand: Errand, tell: Tell) -> Parcel:
    """Execute one attempt at a run on this machine, on behalf of a command that may be on another one.

    Args:
        job: The attempt.
        errand: How.
        tell: Tells the command how far it is, and whether it is to stop.
    """
    try:
        _check_version(errand)
        machine = find_machine(errand)
        tell(machine)
        _check_corpus(job.cell.spec, errand=errand)
        with ExitStack() as until_end:
            is_shared = shares_folder(errand)
            until_end.enter_context(on_this_machine(alone=False, on_event=lambda event: _heed(tell)))
            if is_shared:
                return _run(_seen_from(errand.working_folder, job), errand=errand, machine=machine, tell=tell)
            folder = Path(until_end.enter_context(tempfile.TemporaryDirectory(prefix="switchbench-")))
            here = replace(
                job,
                log_path=folder / "log",
                weights=None if job.weights is None else folder / "weights",
                unfinished=folder / "unfinished",
            )
            parcel = _run(here, errand=errand, machine=machine, tell=tell)
            return replace(parcel, log=_end_of(here.log_path), weights=_content_of(here.weights))
    except _StopAskedError:
        return Parcel(reason=STOPPED)
    except SwitchbenchError as error:
        return Parcel(status="crashed", reason=f"on {socket.gethostname()}: {error}")


def carry_out_timing(
    items: Sequence[TimingItem], *, errand: Errand, weights: Mapping[str, bytes], tell: Callable[[float], object]
) -> Timings:
    """Measure step times on this machine, which the caller has alone as far as its cluster is concerned.

    Args:
        items: What to time.
        errand: How.
        weights: By run_id, weights that are not in the results folder here.
        tell: Takes the share of the work that is done.
    """
    warnings: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, TimingProgressed):
            tell(event.fraction)
        if isinstance(event, Warned):
            warnings.append(f"{socket.gethostname()}: {event.text}")

    try:
        _check_version(errand)
        machine = find_machine(errand)
        for item in items:
            _check_corpus(item.spec, errand=errand)
        with tempfile.TemporaryDirectory(prefix="switchbench-") as name, ExitStack() as until_end:
            folder, here = Path(name), []
            for item in items:
                file = None if item.checkpoint is None else errand.working_folder / item.checkpoint
                if item.run_id in weights:
                    file = folder / f"{item.run_id}.safetensors"
                    file.write_bytes(weights[item.run_id])
                here.append(replace(item, checkpoint=None if file is None else str(file)))
            until_end.enter_context(on_this_machine(alone=True, on_event=listen))
            slot = until_end.enter_context(_slot(errand, machine=machine))
            records = measure_items(
                here,
                execution=slot.execution(
                    device=machine.device, threads=errand.setup.threads, dispatch=errand.setup.dispatch
                ),
                environment=slot.environment,
                sweep=errand.sweep,
                log_path=folder / "log",
                cache_root=errand.cache_root,
                on_event=listen,
                function=errand.functions.time,
            )
    except SwitchbenchError as error:
        return Timings(warnings=(f"the step times were not measured: on {socket.gethostname()}: {error}",))
    return Timings(records=records, warnings=tuple(warnings))


def find_machine(errand: Errand) -> Machine:
    """Say what machine this is.

    Args:
        errand: How runs are executed.

    Raises:
        SwitchbenchError: the device is not there, or PyTorch could not be started.
    """
    _start_server(errand.functions.preload)
    return _find_machine(errand.functions, errand.setup.device)


def _run(job: Job, *, errand: Errand, machine: Machine, tell: Tell) -> Parcel:
    with _slot(errand, machine=machine) as slot:
        executor = LocalExecutor(
            [slot],
            setup=errand.setup,
            machine=machine,
            sweep=errand.sweep,
            cache_root=errand.cache_root,
            function=errand.functions.run,
        )
        executor.start(job)
        try:
            return _watch(job, executor=executor, errand=errand, tell=tell)
        except BaseException:  # ended from outside, as by a limit of the cluster's
            executor.stop([job])
            deadline_s = time.monotonic() + STOP_PATIENCE_S
            while time.monotonic() < deadline_s:
                if any(isinstance(news, Ended) for news in executor.news(timeout_s=TELL_S)):
                    raise
            executor.end(job)
            raise


def _watch(job: Job, *, executor: LocalExecutor, errand: Errand, tell: Tell) -> Parcel:
    """See a run to its end, and within its limits."""
    started_s = time.monotonic()
    told_s, is_asked = started_s, False
    progress: Progress | None = None
    while True:
        for news in executor.news(timeout_s=TELL_S):
            if isinstance(news, Ended):
                reason = STOPPED if is_asked and news.result is None else news.reason
                return Parcel(result=news.result, status=news.status, reason=reason)
            progress = news.progress
        if time.monotonic() - told_s < TELL_S and progress is not None:
            continue
        told_s = time.monotonic()
        if tell(progress) and not is_asked:
            is_asked = True
            executor.stop([job])
        if errand.timeout_s is not None and told_s - started_s > errand.timeout_s:
            executor.end(job)
            return Parcel(status="timeout", reason=f"took longer than {duration(errand.timeout_s)}")
        used = executor.memory_bytes(job) if errand.memory_bytes is not None else None
        if used is not None and errand.memory_bytes is not None and used > errand.memory_bytes:
            executor.end(job)
            limit = size(errand.memory_bytes)
            return Parcel(status="oom", reason=f"grew to {size(used)} of memory; the limit is {limit}")


@contextmanager
def _slot(errand: Errand, *, machine: Machine) -> Iterator[Slot]:
    """Cores of its own for a run, against other runs and commands here; on a GPU it has what the cluster gave it."""
    threads = errand.setup.threads
    if machine.device == "cuda":
        yield Slot(cores=(), gpu=os.environ.get("CUDA_VISIBLE_DEVICES"), runs_per_gpu=errand.setup.per_gpu)
    elif threads > len(usable_cores()) or not hasattr(os, "sched_setaffinity"):
        yield Slot(cores=(), gpu=None)
    else:
        with claimed_cores(threads, on_event=lambda event: None) as cores:
            yield Slot(cores=cores[:threads], gpu=None)


@cache
def _start_server(preload: str) -> None:
    """Start the fork server, which serves every run that this process supervises and ends with it."""
    ExitStack().enter_context(warm_server(preload=preload))


@cache
def _find_machine(functions: WorkerFunctions, device: str) -> Machine:
    return probe_machine(functions, device=device, on_event=lambda event: None)


def _check_version(errand: Errand) -> None:
    if errand.version != __version__:
        raise SwitchbenchError(
            f"switchbench {__version__} is installed here, and the command is of {errand.version}; install the same one"
        )


def _check_corpus(spec: RunSpec, *, errand: Errand) -> None:
    paths = {"path": spec.data.path, "tokenizer_path": spec.data.tokenizer_path}
    there = {
        name: str(errand.working_folder / path) if path is not None and not path.startswith("~") else path
        for name, path in paths.items()
    }
    corpus = prepare_corpus(spec.data.model_copy(update=there), cache_root=errand.cache_root)
    if corpus.fingerprint != spec.data_fingerprint:
        name = spec.data.path or spec.data.corpus
        cause = "its Python is of another version" if spec.data.corpus == "python-stdlib" else "its files differ"
        raise CorpusError(
            f"the text of {name} is not the one the sweep was planned with ({corpus.fingerprint}, planned "
            f"{spec.data_fingerprint}): {cause}. Runs on different text cannot be compared; make the machines alike"
        )


def _seen_from(folder: Path, job: Job) -> Job:
    """Make relative paths absolute; on another machine the working folder is another one."""
    return replace(
        job,
        log_path=folder / job.log_path,
        weights=None if job.weights is None else folder / job.weights,
        unfinished=folder / job.unfinished,
    )


def _heed(tell: Tell) -> None:
    if tell(None):
        raise _StopAskedError


def _end_of(path: Path) -> bytes:
    content = _content_of(path) or b""
    return content[-MOST_LOG_BYTES:]


def _content_of(path: Path | None) -> bytes | None:
    if path is None or not path.is_file() or path.stat().st_size > MOST_WEIGHTS_BYTES:
        return None
    return path.read_bytes()
