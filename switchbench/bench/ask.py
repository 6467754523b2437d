"""Asking for a benchmark: it runs in a process that is started as the processes of runs are, allocator and all."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from switchbench.errors import SwitchbenchError, UsageError
from switchbench.launch.forkserver import describe_death, end_processes, start_process, warm_server


@dataclass(frozen=True, kw_only=True)
class LayerRequest:
    """What to measure of the layer."""

    shapes: tuple[tuple[int, int], ...]
    """Width and number of experts of each case."""
    num_tokens: int
    """Tokens."""
    precision: str
    """``float32`` or ``bfloat16``."""
    rounds: int
    """Counted rounds."""
    device: str
    """``auto``, ``cpu`` or ``cuda``."""
    threads: int
    """CPU threads."""


@dataclass(frozen=True, kw_only=True)
class StepRequest:
    """What to measure of the training step."""

    widths: tuple[int, ...]
    """Widths of the models."""
    num_experts: int
    """Experts of the sparse twin."""
    num_tokens: int
    """Tokens per step."""
    precisions: tuple[str, ...]
    """Each model is measured in each."""
    rounds: int
    """Counted rounds."""
    device: str
    """``auto``, ``cpu`` or ``cuda``."""
    threads: int
    """CPU threads."""


def parse_shapes(texts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Read shapes as they are given on the command line: width and number of experts.

    >>> parse_shapes(["256x8", "512x32"])
    ((256, 8), (512, 32))

    Raises:
        UsageError: one of them does not read so.
    """
    shapes = []
    for text in texts:
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
        if match is None:
            raise UsageError(f"--shape {text}: needs d_model and the number of experts, such as 256x8")
        shapes.append((int(match[1]), int(match[2])))
    return tuple(shapes)


def measure(request: LayerRequest | StepRequest, *, on_progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Measure, and give the answer as one object.

    Args:
        request: What to measure.
        on_progress: Called with the share of the work that is done, and with what is being measured.

    Returns:
        ``schema_version``, ``benchmark``, facts of the machine, and ``rows``.

    Raises:
        UsageError: the device is not there.
        SwitchbenchError: the process ended without an answer.
    """
    with warm_server():
        process, connection = start_process("switchbench.bench.work:run_benchmark", request)
        try:
            return _listen(connection, on_progress=on_progress)
        except EOFError:
            process.join()
            status, reason = describe_death(process.exitcode)
            raise SwitchbenchError(f"the benchmark's process {reason} ({status})") from None
        finally:
            end_processes([process])


def _listen(connection: Connection, *, on_progress: Callable[[float, str], None]) -> dict[str, Any]:
    while True:
        kind, content = connection.recv()
        match kind:
            case "progress":
                on_progress(*content)
            case "error":
                raise UsageError(content)
            case "done":
                answer: dict[str, Any] = content
                return answer
