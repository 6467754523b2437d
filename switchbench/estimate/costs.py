"""What a model costs before anybody builds it: parameters, FLOPs and memory, on one device and on many.

By arithmetic alone, so that 1.6 trillion weights are as quick as fifty thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from switchbench.cost import (
    ForwardFlops,
    Memory,
    Parameters,
    count_memory,
    forward_flops_of,
    memory_of,
    paper_forward_flops,
    parameters_of,
    provisioned_over_useful,
)
from switchbench.errors import UsageError
from switchbench.estimate.devices import DevicePlan, plan_devices
from switchbench.estimate.subjects import Identify, Subject, find_subjects
from switchbench.spec import Precision, RunSpec

Convention = Literal["ours", "paper"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be counted, and for what."""

    convention: Convention = "ours"
    """How FLOPs are counted; ``paper``: as in the Switch Transformer's Table 9, for encoder-decoder models."""
    precision: Precision | None = None
    """Precision that memory is for; None: float32, or that of a sweep file's run."""
    recompute: bool = False
    """Whether every block is computed again in the backward pass, and keeps nothing but its input until then."""
    batch_tokens: int | None = None
    """Tokens of a step, on each device, that memory is for; None: one sequence, or a sweep file's batch."""
    num_devices: int | None = None
    """Devices that the model is spread over; None: not asked."""
    device_memory_bytes: int | None = None
    """Bytes of a device; None: not asked."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one model costs."""

    subject: Subject
    """The model."""
    convention: Convention
    """How its FLOPs are counted."""
    parameters: Parameters
    """Weights."""
    forward_flops_per_sequence: float
    """Useful forward FLOPs of one sequence, by the convention."""
    flops_by_component: ForwardFlops | None
    """Useful forward FLOPs per token; None: the paper's convention, which knows no components."""
    provisioned_over_useful: float | None
    """Slots over assignments of the experts, as capacity makes them; None: not known, or the paper's convention."""
    precision: Precision
    """Precision that memory is for."""
    batch_tokens: int
    """Tokens of a step that memory is for."""
    recompute: bool
    """Whether every block is computed again in the backward pass."""
    memory: Memory
    """Memory of a training step on one device."""
    devices: DevicePlan | None
    """The model over devices; None: not asked."""

    @property
    def forward_flops_per_token(self) -> float:
        """Useful forward FLOPs per token, by the convention."""
        return self.forward_flops_per_sequence / self.subject.sequence_tokens

    @property
    def provisioned_forward_flops_per_token(self) -> float | None:
        """The same with all slots of the experts computed, filled or not; None: not known."""
        if self.flops_by_component is None or self.provisioned_over_useful is None:
            return None
        padding = self.provisioned_over_useful - 1
        return self.forward_flops_per_token + padding * self.flops_by_component.routed_experts


def estimate(asked: Sequence[str], *, identify: Identify, request: Request | None = None) -> tuple[Estimate, ...]:
    """Estimate what models cost.

    Args:
        asked: Published models, sizes of the ladder (as a dense model), ``SIZE-E`` (a Switch model of E experts), and
            sweep files, each followed by its own ``KEY=VALUE`` settings.
        identify: Identifies the corpus of a sweep file.
        request: What is to be counted; None: by our conventions, for one sequence.

    Raises:
        UsageError: a name is not known, the convention is not for a model, or the tokens are no whole sequences.
        SweepFileError: a sweep file has problems; all of them are listed.
        CorpusError: a corpus cannot be found or read.
    """
    subjects = find_subjects(asked, identify=identify)
    return tuple(_estimate(subject, request=request or Request()) for subject in subjects)


def _estimate(subject: Subject, *, request: Request) -> Estimate:
    architecture = subject.architecture
    lengths = {"source_len": subject.source_len, "target_len": subject.target_len}
    flops = forward_flops_of(architecture, **lengths)
    if request.convention == "paper" and not architecture.is_encoder_decoder:
        raise UsageError(
            f"--convention paper is for encoder-decoder models, and {subject.name!r} is none; use --convention ours"
        )
    is_ours = request.convention == "ours"
    precision, batch_tokens = request.precision or subject.precision, request.batch_tokens or subject.batch_tokens
    sequences = _whole_sequences(subject, batch_tokens=batch_tokens)
    memory = _memory(subject, precision=precision, batch_tokens=batch_tokens, recompute=request.recompute)
    return Estimate(
        subject=subject,
        convention=request.convention,
        parameters=parameters_of(architecture),
        forward_flops_per_sequence=flops.total.total if is_ours else paper_forward_flops(architecture, **lengths),
        flops_by_component=flops.per_token if is_ours else None,
        provisioned_over_useful=_provisioned_over_useful(subject, batch_tokens=batch_tokens) if is_ours else None,
        precision=precision,
        batch_tokens=batch_tokens,
        recompute=request.recompute,
        memory=memory,
        devices=_devices(subject, memory, precision=precision, sequences=sequences, request=request),
    )


def _devices(
    subject: Subject, memory: Memory, *, precision: Precision, sequences: int, request: Request
) -> DevicePlan | None:
    if request.num_devices is None and request.device_memory_bytes is None:
        return None
    return plan_devices(
        subject.architecture,
        memory=memory,
        num_devices=request.num_devices,
        device_memory_bytes=request.device_memory_bytes,
        source_tokens=sequences * subject.source_len,
        target_tokens=sequences * subject.target_len,
        capacity_factor=subject.capacity_factor,
        precision=precision,
        recompute=request.recompute,
    )


def _memory(subject: Subject, *, precision: Precision, batch_tokens: int, recompute: bool) -> Memory:
    """Count the memory of a step: of our own runs as on a CPU, of published models as on a GPU."""
    if subject.spec is not None and not recompute:
        return count_memory(_with_batch(subject.spec, batch_tokens=batch_tokens, precision=precision))
    return memory_of(
        subject.architecture,
        sequences=batch_tokens // subject.sequence_tokens,
        source_len=subject.source_len,
        target_len=subject.target_len,
        precision=precision,
        recompute=recompute,
        capacity_factor=subject.capacity_factor,
        device="cuda" if subject.spec is None else "cpu",
    )


def _provisioned_over_useful(subject: Subject, *, batch_tokens: int) -> float | None:
    if subject.spec is None:
        return None if subject.architecture.sparse_layers else 1.0
    return provisioned_over_useful(_with_batch(subject.spec, batch_tokens=batch_tokens, precision=subject.precision))


def _with_batch(spec: RunSpec, *, batch_tokens: int, precision: Precision) -> RunSpec:
    changed = {"batch_tokens": batch_tokens, "precision": precision}
    return spec.model_copy(update={"train": spec.train.model_copy(update=changed)})


def _whole_sequences(subject: Subject, *, batch_tokens: int) -> int:
    """Give the sequences of a step."""
    lengths = {"sequences": subject.sequence_tokens, "routing groups": subject.routing_group_tokens or 1}
    for what, length in lengths.items():
        fewer = batch_tokens // length * length
        if fewer != batch_tokens:
            parts = f" ({subject.source_len} source and {subject.target_len} target)" if subject.source_len else ""
            nearest = " or ".join(str(tokens) for tokens in (fewer, fewer + length) if tokens)
            raise UsageError(
                f"--batch-tokens {batch_tokens} is no whole number of {what}: one of {subject.name!r} has {length} "
                f"tokens{parts}; the nearest is {nearest}"
            )
    return batch_tokens // subject.sequence_tokens
