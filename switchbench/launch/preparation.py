"""What must be ready before the first process of a sweep can do its work: the corpora, and the machine's facts."""

from dataclasses import dataclass
from pathlib import Path

from switchbench.data.corpora import check_repetition, doubts_about, prepare_corpus
from switchbench.errors import SwitchbenchError, UsageError
from switchbench.launch.events import Listener, Preparing, Warned
from switchbench.launch.forkserver import PRELOAD, describe_death, start_process
from switchbench.launch.messages import Machine
from switchbench.launch.plan import Plan

TICK_S = 1.0
"""Longest time without an event."""
EXIT_PATIENCE_S = 10.0
"""How long a process that has sent its result may take to exit."""


@dataclass(frozen=True, kw_only=True)
class WorkerFunctions:
    """The functions that processes run, as ``package.module:function``; by name, since importing them imports torch."""

    run: str = "switchbench.launch.worker:run_worker"
    """Trains one run."""
    probe: str = "switchbench.launch.worker:probe_machine"
    """Tells the machine's facts."""
    calibrate: str = "switchbench.launch.worker:try_shape"
    """Tries a shape, for the estimate of its time."""
    time: str = "switchbench.launch.worker:time_configurations"
    """Measures step times."""
    preload: str = PRELOAD
    """Module that the fork server imports once for all of them."""


def prepare_corpora(plan: Plan, *, cache_root: Path | None, on_event: Listener) -> None:
    """Make the token arrays of a plan's corpora, where they are missing.

    Args:
        plan: The plan.
        cache_root: Where prepared corpora are kept; None: the default place.
        on_event: Told how far it is, and what is doubtful about the text.

    Raises:
        CorpusError: a corpus cannot be prepared.
    """
    wanted = {cell.spec.data_fingerprint: cell.spec.data for cell in plan.chosen}
    doubts: dict[str, None] = {}  # one corpus may be cut in several ways
    for data in wanted.values():
        corpus = prepare_corpus(
            data,
            cache_root=cache_root,
            progress=lambda what, fraction: on_event(Preparing(what=what, fraction=fraction)),
        )
        doubts |= dict.fromkeys(doubts_about(corpus, name=data.path or data.corpus))
        for cell in plan.chosen:
            if cell.spec.data_fingerprint == corpus.fingerprint:
                check_repetition(cell.spec, corpus)
    for text in doubts:
        on_event(Warned(text=text))


def probe_machine(functions: WorkerFunctions, *, device: str, on_event: Listener) -> Machine:
    """Ask the first process what machine this is.

    Args:
        functions: What the processes run.
        device: ``auto``, ``cpu`` or ``cuda``.
        on_event: Told that there is a wait.

    Raises:
        UsageError: the device is not there.
        SwitchbenchError: the process ended without an answer.
    """
    process, connection = start_process(functions.probe, device)
    try:
        while not connection.poll(TICK_S):
            on_event(Preparing(what="starting PyTorch"))
        kind, value = connection.recv()
    except (EOFError, OSError):
        process.join(EXIT_PATIENCE_S)
        _, reason = describe_death(process.exitcode)
        raise SwitchbenchError(
            f"PyTorch could not be started: the first process {reason}; what it said stands above. Nothing was run."
        ) from None
    finally:
        connection.close()
    process.join(EXIT_PATIENCE_S)
    if kind == "error":
        raise UsageError(value)
    assert isinstance(value, Machine)
    return value
