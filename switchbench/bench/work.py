"""What runs in the process of a benchmark."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from switchbench.bench.ask import LayerRequest, StepRequest
from switchbench.bench.layer import layer_case, measure_layer_case
from switchbench.bench.step import measure_step
from switchbench.device import machine_facts, resolve_device
from switchbench.errors import UsageError

SCHEMA_VERSION = 1


def run_benchmark(connection: Connection, request: LayerRequest | StepRequest) -> None:
    """Measure and send the answer.

    Args:
        connection: Takes ``progress`` (share, what) and one ``done`` with the answer, or one ``error`` with a text.
        request: What to measure.
    """
    try:
        device = resolve_device(request.device)
    except UsageError as error:
        connection.send(("error", str(error)))
        return
    torch.set_num_threads(request.threads)
    facts = machine_facts(device)

    def report(share: float, what: str) -> None:
        connection.send(("progress", (share, what)))

    rows = _layers if isinstance(request, LayerRequest) else _steps
    answer = {
        "schema_version": SCHEMA_VERSION,
        "benchmark": "layer" if isinstance(request, LayerRequest) else "step",
        "machine": facts.machine,
        "device": facts.device,
        "device_name": facts.device_name,
        "threads": request.threads,
        "allocator": facts.allocator,
        "torch_version": facts.torch_version,
        "rows": rows(request, device=device, report=report),  # type: ignore[arg-type]
    }
    connection.send(("done", answer))


def _layers(
    request: LayerRequest, *, device: torch.device, report: Callable[[float, str], None]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index, (d_model, num_experts) in enumerate(request.shapes):
        case = layer_case(
            d_model=d_model,
            num_experts=num_experts,
            num_tokens=request.num_tokens,
            device=device,
            dtype=getattr(torch, request.precision),
        )
        on_progress = _progress_of(report, index, len(request.shapes), f"d_model {d_model}, {num_experts} experts")
        rows += [
            row | {"precision": request.precision}
            for row in measure_layer_case(case, rounds=request.rounds, on_progress=on_progress)
        ]
    return rows


def _steps(request: StepRequest, *, device: torch.device, report: Callable[[float, str], None]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index, d_model in enumerate(request.widths):
        rows += measure_step(
            d_model=d_model,
            num_experts=request.num_experts,
            num_tokens=request.num_tokens,
            precisions=request.precisions,
            device=device,
            rounds=request.rounds,
            on_progress=_progress_of(report, index, len(request.widths), f"d_model {d_model}"),
        )
    return rows


def _progress_of(report: Callable[[float, str], None], index: int, count: int, what: str) -> Callable[[float], None]:
    return lambda share: report((index + share) / count, what)
