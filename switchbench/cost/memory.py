"""Peak memory of a training step, by arithmetic: weights, gradients, AdamW's moments, and what the step itself needs.

Weights, gradients and both moments are float32, whatever the precision of the matmuls. Gradients are given back after
every step. So the peak is no sum of everything, but the largest of the moments of a step:

  forward    weights + moments + all activations, and the logits beside the log-probabilities
  backward   at each stage: weights + moments + activations of the stages up to it + its short-lived values + gradients
             of its own weights and of the stages after it
  optimizer  weights + moments + all gradients

The logits and the batch are held to the end of the step. Not counted: the library's code, the allocator's losses, and
the corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from switchbench.cost.activations import WIDE, Activations, Conditions, DeviceKind
from switchbench.cost.parameters import parameters_of
from switchbench.cost.stages import Batch, Stage, stages_of
from switchbench.cost.training import provisioned_over_useful
from switchbench.spec import (
    Architecture,
    Backend,
    Precision,
    RunSpec,
    SparseFFNSpec,
    architecture_of,
    expert_capacity,
)
from switchbench.spec.ffn import Router

MOMENTS = 2
"""Numbers that AdamW keeps per weight."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of a training step."""

    weights: int
    """Weights."""
    gradients: int
    """Gradients of all weights."""
    optimizer: int
    """AdamW's moments."""
    activations: Activations
    """What the backward pass keeps, per component, at the end of the forward pass."""
    held: int
    """Tokens and logits, which are held to the end of the step."""
    temporary: int
    """Short-lived values at the moment of the peak."""
    peak: int
    """The largest sum over the moments of a step; not the sum of the above."""
    peak_moment: str
    """Where that is."""


def memory_of(
    architecture: Architecture,
    *,
    sequences: int,
    source_len: int,
    target_len: int,
    precision: Precision = "float32",
    recompute: bool = False,
    capacity_factor: float | None = None,
    device: DeviceKind = "cpu",
    backend: Backend = "loop",
) -> Memory:
    """Count the memory of a training step of any architecture, as our implementation would take it.

    Args:
        architecture: The architecture.
        sequences: Sequences per step.
        source_len: Tokens of the encoder per sequence; 0 for a decoder-only model.
        target_len: Tokens of the decoder per sequence.
        precision: Of the matmuls.
        recompute: Whether each block keeps its input alone and is computed again in the backward pass. Our own training
            does not: a figure for planning on paper.
        capacity_factor: Limits the experts; None: nothing is dropped. As many assignments are kept as there are slots.
        device: Where; on a CPU attention is done in float32.
        backend: What computes the experts.
    """
    a = architecture
    batch = Batch(sequences=sequences, source_len=source_len, target_len=target_len)
    router: Router = "hash" if not a.has_router else ("top_k" if a.top_k > 1 else "switch")
    sparse_encoder, sparse_decoder = a.sparse_encoder_layers, a.sparse_layers - a.sparse_encoder_layers
    tokens = [batch.source] * sparse_encoder + [batch.target] * sparse_decoder
    slots = [_num_slots(a, group_tokens=count, capacity_factor=capacity_factor) for count in tokens]
    conditions = Conditions(
        precision=precision,
        device=device,
        backend=backend,
        router=router,
        normalizes_gates=a.top_k > 1,
        num_slots=max(slots, default=0),
    )
    blocks = {
        *_spread(sparse_encoder, over=a.encoder_layers),
        *(a.encoder_layers + block for block in _spread(sparse_decoder, over=a.decoder_layers)),
    }
    kept = [min(count * a.top_k, limit) for count, limit in zip(tokens, slots, strict=True)]
    stages = stages_of(a, conditions, batch=batch, kept=kept, sparse_layers=frozenset(blocks))
    return _memory(a, stages, batch=batch, recompute=recompute)


def count_memory(
    spec: RunSpec,
    *,
    device: DeviceKind = "cpu",
    backend: Backend = "loop",
    kept: Sequence[int] | None = None,
) -> Memory:
    """Count the memory of a training step of a run.

    Args:
        spec: The run.
        device: Where; on a CPU attention is done in float32.
        backend: What computes the experts.
        kept: Assignments that each sparse layer really kept; None: as many as there are, or as there are slots.
    """
    a, ffn = architecture_of(spec.model, vocab_size=spec.vocab_size), spec.model.ffn
    seq_len, tokens = spec.data.seq_len, spec.train.batch_tokens
    batch = Batch(sequences=tokens // seq_len, source_len=0, target_len=seq_len)
    if not isinstance(ffn, SparseFFNSpec):
        conditions = Conditions(precision=spec.train.precision, device=device, backend=backend, router="switch")
        return _memory(a, stages_of(a, conditions, batch=batch, kept=(), sparse_layers=frozenset()), batch=batch)
    group = spec.routing_group_tokens
    groups = tokens // group
    slots = groups * _num_slots(a, group_tokens=group, capacity_factor=ffn.capacity_factor)
    if ffn.router == "expert_choice":
        slots = groups * round(ffn.top_k * group * provisioned_over_useful(spec))
    conditions = Conditions(
        precision=spec.train.precision,
        device=device,
        backend=backend,
        router=ffn.router,
        normalizes_gates=ffn.router == "top_k" and ffn.normalize_gates,
        has_jitter=ffn.router_jitter > 0,
        has_dropout=ffn.expert_dropout > 0,
        num_groups=groups,
        num_slots=slots,
    )
    if kept is None:
        most = slots if ffn.router == "expert_choice" else min(slots, tokens * ffn.top_k)
        kept = [most] * len(spec.model.sparse_layers)
    layers = frozenset(spec.model.sparse_layers)
    return _memory(a, stages_of(a, conditions, batch=batch, kept=kept, sparse_layers=layers), batch=batch)


def _memory(a: Architecture, stages: list[Stage], *, batch: Batch, recompute: bool = False) -> Memory:
    """Go through the moments of a step and take the largest."""
    weights = WIDE * parameters_of(a).total
    logits, tokens = batch.target * a.vocab_size * WIDE, (batch.source + 2 * batch.target) * 8
    held = logits + tokens
    kept = [_kept_until_needed(stage, stages, recompute=recompute, batch=batch, a=a) for stage in stages]
    activations = sum(kept, start=Activations())
    steady = weights * (1 + MOMENTS) + held
    moments = [(steady + activations.total, 0, "end of the forward pass")]
    gradients, below = 0, activations.total
    for index in reversed(range(len(stages))):
        stage = stages[index]
        gradients += WIDE * stage.weights
        again = 0
        if recompute and stage.block is not None:
            again = sum(other.kept.total for other in stages[: index + 1] if other.block == stage.block)
        bytes_now = steady + below + again + gradients + stage.temporary
        moments.append((bytes_now, stage.temporary, _name(stage)))
        below -= kept[index].total
    moments.append((steady + weights, 0, "optimizer"))
    peak, temporary, name = max(moments)
    return Memory(
        weights=weights,
        gradients=weights,
        optimizer=MOMENTS * weights,
        activations=activations,
        held=held,
        temporary=temporary,
        peak=peak,
        peak_moment=name,
    )


def _kept_until_needed(
    stage: Stage, stages: list[Stage], *, recompute: bool, batch: Batch, a: Architecture
) -> Activations:
    """What a stage keeps; with recomputation that is the block's input, at its first stage."""
    if not recompute or stage.block is None:
        return stage.kept
    is_first = next(other for other in stages if other.block == stage.block) is stage
    tokens = batch.source if stage.block < a.encoder_layers else batch.target
    return Activations(residual=tokens * a.d_model * WIDE if is_first else 0)


def _name(stage: Stage) -> str:
    where = "" if stage.block is None else f" of block {stage.block}"
    return f"backward pass of the {stage.name}{where}"


def _num_slots(a: Architecture, *, group_tokens: int, capacity_factor: float | None) -> int:
    """Slots of all experts for one group; as many as there are assignments where nothing can be dropped."""
    capacity = expert_capacity(group_tokens, num_experts=a.num_experts, capacity_factor=capacity_factor, top_k=a.top_k)
    return a.num_experts * capacity if capacity < group_tokens else group_tokens * a.top_k


def _spread(count: int, *, over: int) -> list[int]:
    """Numbers of the sparse blocks of a stack, spread evenly and ending with the last."""
    return [block for block in range(over) if (block + 1) * count // over > block * count // over]
