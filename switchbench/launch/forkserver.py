"""A warm fork server: a process that has imported torch once, from which each run's process is forked in milliseconds.

Four things are arranged here that multiprocessing alone does not do:

* the server starts with our allocator settings, which a process can only be given before it starts;
* ``__main__`` is hidden while processes start, else each would import the command line again;
* a process ends when its parent is gone, even if the parent was killed and could not say so;
* Ctrl-C reaches the parent alone, which then ends its processes.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from switchbench.errors import SwitchbenchError
from switchbench.record import Status

PROCESS_NAME = "switchbench"
"""Name of the processes that are started here."""

PRELOAD = "switchbench.launch.preload"
"""Module that the server imports once for all processes."""

DEFAULT_ENVIRONMENT = {
    # glibc: keep freed memory instead of handing it back, so that a step's tensors are not page-faulted in anew.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
    # No caches of small freed pieces: what aligning a tensor cuts off rejoins it, and the next of its size fits there.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
    # MKL keeps the buffer of its first large matmul, right behind the logits: their place was then too small for those
    # of the next step, and a model with 32,000 tokens to choose from took up to half as much memory again.
    "MKL_DISABLE_FAST_MM": "1",
    # oneDNN, which multiplies in bfloat16 on a CPU, keeps code and buffers for every shape it meets, and the loads of
    # experts make thousands: a model of 16 experts came to 979 MiB where 173 are the model's own.
    "LRU_CACHE_CAPACITY": "32",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
}
"""Set for the processes unless the user has set them; recorded with each run."""

FIXED_ENVIRONMENT = {
    # The server must stay single-threaded until it forks; a run sets its own number of threads afterwards.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # These bind threads to cores when the library is loaded, against the cores that a run is given.
    "OMP_PROC_BIND": None,
    "OMP_PLACES": None,
    "GOMP_CPU_AFFINITY": None,
    "KMP_AFFINITY": None,
}
"""Set (or, where None, unset) for the processes whatever the user has set."""

_CRASH_SIGNALS = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")


def start_method() -> str:
    """Name how processes start here: ``forkserver``, or ``spawn`` where there is no fork server."""
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@contextmanager
def warm_server(*, preload: str = PRELOAD) -> Iterator[None]:
    """Start the server at once (it imports in the background); at the end, end what still runs and stop the server.

    Args:
        preload: Module that the server imports.
    """
    if start_method() == "forkserver":
        forkserver.set_forkserver_preload([preload])
        with _process_start():
            _start_server()
    try:
        yield
    finally:
        end_processes([child for child in multiprocessing.active_children() if child.name == PROCESS_NAME])
        _stop_server()


def start_process(
    target: str, *arguments: Any, environment: Mapping[str, str] | None = None, **keywords: Any
) -> tuple[BaseProcess, Connection]:
    """Start a process that calls ``target(connection, *arguments, **keywords)``.

    Args:
        target: The function, as ``package.module:function``: by name, since importing it here would import torch.
        *arguments: What it is called with after the connection; must be picklable.
        **keywords: The same, by name.
        environment: Variables that are set in the process before the function is looked up.

    Returns:
        The process, and our end of the connection.

    Raises:
        SwitchbenchError: the system does not let us start a process.
    """
    context = multiprocessing.get_context(start_method())
    ours, theirs = context.Pipe()
    # The contexts that are possible here all have Process; the type of get_context is their common base, which has not.
    # A daemon is ended, not waited for, when this process exits before it had a chance to.
    process: BaseProcess = context.Process(  # type: ignore[attr-defined]
        target=_enter,
        args=(theirs, target, arguments, keywords, dict(environment or {})),
        name=PROCESS_NAME,
        daemon=True,
    )
    try:
        with _process_start():
            process.start()
    except (OSError, EOFError) as error:
        ours.close()
        raise SwitchbenchError(
            f"could not start a process: {error or type(error).__name__}. Look for a lack of memory or of processes "
            "(`ulimit -u`), and for a message of Python's above; then run the same command again."
        ) from error
    finally:
        theirs.close()  # so that the end of the process is the end of the connection
    return process, ours


def end_processes(processes: list[BaseProcess], *, patience_s: float = 2.0) -> None:
    """End processes: ask all of them first, then kill those that have not gone.

    Args:
        processes: The processes; those that have ended already are left alone.
        patience_s: How long each may take to go.
    """
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(patience_s)
        if process.is_alive():
            process.kill()
            process.join()


def describe_death(exit_code: int | None, *, log_path: Path | None = None) -> tuple[Status, str]:
    """Say how a process ended that sent no result.

    Args:
        exit_code: Its exit code; below 0: the signal that ended it.
        log_path: Its log, whose last line says more.
    """
    if exit_code is not None and exit_code < 0:
        number = -exit_code
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        if name in _CRASH_SIGNALS:
            return "crashed", f"crashed by {name}"
        hint = " (sent from outside, or by the system when memory ran out)" if name == "SIGKILL" else ""
        return "killed", f"killed by {name}{hint}"
    last_line = _last_line(log_path)
    return "crashed", f"ended without a result, exit code {exit_code}" + (f": {last_line}" if last_line else "")


def exit_with_parent() -> None:
    """Let this process end when its parent is gone, however the parent ended; called once, in the process itself."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_and_exit() -> None:
        parent.join()  # waits for the end of a pipe that the parent alone holds open: no polling, works for kill -9
        os._exit(1)

    threading.Thread(target=wait_and_exit, name="exit-with-parent", daemon=True).start()


def _enter(
    connection: Connection,
    target: str,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    environment: Mapping[str, str],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()
    os.environ.update(environment)
    module_name, _, function_name = target.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module_name), function_name)
    function(connection, *arguments, **keywords)


@contextmanager
def _process_start() -> Iterator[None]:
    """Start servers and processes inside this: with the environment, without ``__main__``, deaf to Ctrl-C."""
    if start_method() == "forkserver":
        # Started before the signal is blocked: it unblocks the signal on its own way.
        resource_tracker.ensure_running()
    real_main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    kept_environment = dict(os.environ)
    for name, value in DEFAULT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name, fixed in FIXED_ENVIRONMENT.items():
        if fixed is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = fixed
    try:
        with _interrupt_held_back():
            yield
    finally:
        for name in {*DEFAULT_ENVIRONMENT, *FIXED_ENVIRONMENT}:
            if name in kept_environment:
                os.environ[name] = kept_environment[name]
            else:
                os.environ.pop(name, None)
        sys.modules["__main__"] = real_main


@contextmanager
def _interrupt_held_back() -> Iterator[None]:
    """Hold back Ctrl-C. Here it arrives right after; the server and its processes inherit the block and see nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, types.FrameType | None]] = []
    # A handler too: a signal that one thread blocks goes to another, and Python tells the main thread of it.
    handler = signal.signal(signal.SIGINT, lambda number, frame: arrived.append((number, frame)))
    can_block = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_block else set()
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if arrived and callable(handler):
            handler(*arrived[0])


def _start_server() -> None:
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise SwitchbenchError(
            f"could not start the process from which runs are forked: {error}. Its socket lies in the folder for "
            f"temporary files, {tempfile.gettempdir()}; where that path is too long (from about 80 letters on), set "
            "TMPDIR to a shorter one, such as /tmp. Nothing was started."
        ) from error


def _stop_server() -> None:
    # multiprocessing offers no public way; without this the server ends with the parent, but serves the next sweep of
    # the same parent with the environment of this one.
    server = getattr(forkserver, "_forkserver", None) if start_method() == "forkserver" else None
    pid, stop = getattr(server, "_forkserver_pid", None), getattr(server, "_stop", None)
    if pid is None or stop is None:
        return
    os.kill(pid, signal.SIGTERM)  # it would first finish importing torch
    stop()


def _last_line(log_path: Path | None) -> str:
    """The last line of a log that is not empty, shortened."""
    if log_path is None:
        return ""
    try:
        with open(log_path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 4096, 0))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""
