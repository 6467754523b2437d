"""Runs on a Ray cluster: a task per run, and a small actor beside the command through which tasks and command talk.

Ray places tasks and notices machines that go; it tries nothing again, since the scheduler counts attempts. A task only
supervises: the run is a process of its own, forked from a server that the task's process keeps warm for the next one.
"""

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from switchbench.errors import UsageError
from switchbench.launch.clusters.errand import Errand, Parcel, Timings, open_parcel
from switchbench.launch.clusters.ray_tasks import Board, look_there, run_there, time_there
from switchbench.launch.events import Listener, Preparing, Ticked, TimingProgressed
from switchbench.launch.executor import Ended, Job, Told
from switchbench.launch.messages import Machine, Progress, TimingItem
from switchbench.record import Status

CONNECT_S = 5.0
"""How long the head may take to answer."""
BOARD_S = 10.0
"""How long the actor may take to answer; without an answer there is only no progress to show."""
LOOK_AT_NODES_S = 1.0
"""Time between two looks at which machines there are."""
POLL_S = 0.5
"""Time between two looks at the tasks while there is nothing new."""
WITHOUT_RETRIES: dict[str, Any] = {"max_retries": 0}
"""The scheduler counts attempts. A task's process may serve the next task, too: runs are processes of their own."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster."""

    node_id: str
    """Ray's name of it."""
    cpus: float
    """CPUs that Ray may give away."""
    gpus: float
    """GPUs likewise."""

    def room(self, *, threads: int, device: str, per_gpu: int) -> int:
        """Runs side by side, as far as this machine goes."""
        by_cpus = int(self.cpus // threads)
        return min(by_cpus, int(self.gpus) * per_gpu) if device == "cuda" else by_cpus


@dataclass(kw_only=True)
class _Running:
    job: Job
    attempt: str
    task: Any
    machine: Machine | None = None
    has_started: bool = False


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be part of a Ray cluster until the block ends; where the process is part of one already, it stays so.

    Args:
        address: ``host:port`` of the head; None: the cluster of this machine, or a new one of it alone.

    Raises:
        UsageError: the cluster cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _check_address(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"at {address}" if address else "of this machine"
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"the Ray cluster {where} cannot be used: {said}. Nothing was started; `ray status` on this machine "
            "shows whether it is part of the cluster, and `ray start --address HOST:PORT` makes it so. Where a cluster "
            "has a token, it must be in ~/.ray/auth_token here, too, with RAY_AUTH_MODE=token in the environment"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray's own handler would end the process without a word
    try:
        yield
    finally:
        ray.shutdown()


class RayExecutor:
    """Executes attempts as tasks of the Ray cluster that this process is part of.

    Args:
        errand: What all orders have in common; its device may be ``auto``: GPUs if the cluster has any.
        workers: Runs side by side; None: as many as there is room for.

    Raises:
        UsageError: no machine of the cluster can take a run.
    """

    def __init__(self, errand: Errand, *, workers: int | None) -> None:
        self._nodes, self._looked_s = alive_nodes(), time.monotonic()
        device = errand.setup.device
        if device == "auto":
            device = "cuda" if any(node.gpus >= 1 for node in self._nodes) else "cpu"
        self.device = device
        self._errand = replace(errand, setup=replace(errand.setup, device=device))
        self._workers, self._running, self._num_attempts = workers, list[_Running](), 0
        self._machines: dict[str, Machine] = {}
        if not self.num_slots:
            raise UsageError(_no_room(self._nodes, threads=errand.setup.threads, device=device))
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()

    @property
    def num_slots(self) -> int:
        """Attempts side by side, on the machines that there are now."""
        if time.monotonic() - self._looked_s > LOOK_AT_NODES_S:
            self._nodes, self._looked_s = alive_nodes(), time.monotonic()
        threads = self._errand.setup.threads
        per_gpu = self._errand.setup.per_gpu
        room = sum(node.room(threads=threads, device=self.device, per_gpu=per_gpu) for node in self._nodes)
        return room if self._workers is None else min(room, self._workers)

    def has_room(self) -> bool:
        """Whether a machine has room for another attempt, as far as it is up to this command."""
        return len(self._running) < self.num_slots

    def start(self, job: Job) -> None:
        """Submit a task."""
        self._num_attempts += 1
        attempt = f"{job.run_id}-{self._num_attempts}"
        task = self._task(run_there, name=f"switchbench {attempt}").remote(job, self._errand, self._board, attempt)
        self._running.append(_Running(job=job, attempt=attempt, task=task))

    def news(self, *, timeout_s: float) -> list[Told | Ended]:
        """Give what tasks have told, and which have ended."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(min(deadline_s - time.monotonic(), POLL_S), 0.0)
            tasks = [run.task for run in self._running]
            if tasks:
                ray.wait(tasks, timeout=left_s, fetch_local=False)
            else:
                time.sleep(left_s)
            news: list[Told | Ended] = list(self._told())
            ready = ray.wait(tasks, num_returns=len(tasks), timeout=0, fetch_local=False)[0] if tasks else []
            news += [self._ended(run) for run in list(self._running) if run.task in ready]
            if news or time.monotonic() >= deadline_s:
                return news

    def memory_bytes(self, job: Job) -> int | None:
        """Not known here: the machine of the run watches its memory."""
        return None

    def known_columns(self, job: Job) -> Mapping[str, object]:
        """Give the columns of the machine that the run was on, if it had told."""
        machine = self._machines.get(job.run_id)
        return {} if machine is None else machine.provenance

    def stop(self, jobs: Sequence[Job]) -> None:
        """Ask over the board; what has not started is taken back."""
        asked = [run for run in self._running if run.job in jobs]
        self._ask("stop", [run.attempt for run in asked])
        for run in asked:
            if not run.has_started:
                ray.cancel(run.task, force=True)

    def end(self, job: Job) -> None:
        """End the task's process, and with it the run's."""
        for run in list(self._running):
            if run.job is job:
                ray.cancel(run.task, force=True)
                self._running.remove(run)

    def machine_kinds(self, *, on_event: Listener) -> Mapping[str, tuple[Node, bool]]:
        """Find what kinds of machine there are: by ``machine_id`` one of each, and whether the results are there.

        Args:
            on_event: Told that there is a wait.
        """
        on_event(Preparing(what="looking at the machines of the cluster"))
        threads = self._errand.setup.threads
        nodes = [node for node in alive_nodes() if node.room(threads=threads, device=self.device, per_gpu=1)]
        looks = [self._task(look_there, **_on(node)).remote(self._errand) for node in nodes]
        kinds: dict[str, tuple[Node, bool]] = {}
        for node, look in zip(nodes, looks, strict=True):
            with contextlib.suppress(ray.exceptions.RayError):  # it has just gone, or cannot run anything
                machine_id, is_shared = ray.get(look)
                kinds.setdefault(machine_id, (node, is_shared))
        return kinds

    def measure(self, items: Sequence[TimingItem], *, node: Node, is_shared: bool, on_event: Listener) -> Timings:
        """Measure step times on a machine, with all of its CPUs and GPUs taken, so that no other task is there.

        Args:
            items: What to time.
            node: The machine.
            is_shared: Whether the results folder is there.
            on_event: Told how far it is.
        """
        files = {} if is_shared else {item.run_id: item.checkpoint for item in items}
        weights = {run_id: Path(file).read_bytes() for run_id, file in files.items() if file is not None}
        all_of_it = {"num_cpus": node.cpus, "num_gpus": node.gpus}
        task = self._task(time_there, **all_of_it, **_on(node)).remote(items, self._errand, weights, self._board)
        on_event(Preparing(what="waiting until a machine of the cluster is free"))
        while not ray.wait([task], timeout=1.0)[0]:
            shares = [told for _, told in self._ask("take") if isinstance(told, float)]
            on_event(TimingProgressed(configurations=len(items), fraction=shares[-1]) if shares else Ticked())
        try:
            timings: Timings = ray.get(task)
        except ray.exceptions.RayError as error:
            return Timings(warnings=(f"the step times were not measured: {describe_failure(error)[1]}",))
        return timings

    def _task(self, function: Callable[..., object], **options: Any) -> Any:
        setup = self._errand.setup
        needs = {"num_cpus": setup.threads, "num_gpus": 1 / setup.per_gpu if self.device == "cuda" else 0}
        return ray.remote(function).options(**(WITHOUT_RETRIES | needs | options))

    def _told(self) -> Iterator[Told]:
        by_attempt = {run.attempt: run for run in self._running}
        for attempt, what in self._ask("take"):
            run = by_attempt.get(attempt)
            if run is None:
                continue
            run.has_started = True
            if isinstance(what, Machine):
                self._machines[run.job.run_id] = what
            elif isinstance(what, Progress):
                yield Told(job=run.job, progress=what)

    def _ended(self, run: _Running) -> Ended:
        self._running.remove(run)
        try:
            parcel: Parcel = ray.get(run.task)
        except ray.exceptions.RayError as error:
            status, reason = describe_failure(error)
            return Ended(job=run.job, status=status, reason=reason)
        return open_parcel(run.job, parcel)

    def _ask(self, method: str, *arguments: Any) -> list[Any]:
        try:
            return ray.get(getattr(self._board, method).remote(*arguments), timeout=BOARD_S) or []
        except ray.exceptions.RayError:
            return []


def alive_nodes() -> list[Node]:
    """Give the machines that are part of the cluster now."""
    return [
        Node(
            node_id=node["NodeID"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def describe_failure(error: Exception) -> tuple[Status, str]:
    """Say how an attempt ended whose task gave nothing back.

    Args:
        error: What Ray raised.
    """
    match error:
        case ray.exceptions.OutOfMemoryError():
            return "oom", "ended by Ray, since its machine ran short of memory"
        case ray.exceptions.TaskCancelledError():
            return "killed", "taken back before it had ended"
        case ray.exceptions.RayTaskError():
            lines = [line for line in str(error).splitlines() if line.strip()]
            return "crashed", f"could not be supervised: {lines[-1].strip() if lines else type(error).__name__}"
        case ray.exceptions.RuntimeEnvSetupError():
            return "crashed", "its machine could not set up Ray's environment"
        case ray.exceptions.NodeDiedError() | ray.exceptions.LocalRayletDiedError():
            return "killed", "its machine left the cluster"
        case ray.exceptions.WorkerCrashedError():
            return "killed", "the process that supervised it died, or its machine left the cluster"
    return "killed", f"its result was lost with its machine ({type(error).__name__})"


def _no_room(nodes: Sequence[Node], *, threads: int, device: str) -> str:
    needed = f"{threads} CPU{'s' if threads > 1 else ''}" + (" and a GPU" if device == "cuda" else "")
    there = "; ".join(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes) or "none"
    return (
        f"a run needs {needed} (--threads, --device), and no machine of the Ray cluster has so many. The machines: "
        f"{there}. Nothing was started"
    )


def _on(node: Node) -> dict[str, Any]:
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node.node_id, soft=False)}


def _check_address(address: str) -> None:
    """Look whether anybody answers: Ray itself would take a minute to say so."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UsageError(
            f"--address takes HOST:PORT of a Ray cluster's head, such as 10.0.0.1:6379, got {address!r}; the command "
            "itself runs on a machine of the cluster"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address}: {error}. Nothing was started; `ray start --head --port {port}` on "
            f"{host} starts one"
        ) from error
