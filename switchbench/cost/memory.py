"""Peak memory of a training step, by arithmetic: weights, gradients, AdamW's moments, and what the step itself needs.

Weights, gradients and both moments are float32, whatever the precision of the matmuls. Gradients are given back after
every step. So the peak is no sum of everything, but the largest of the moments of a step:

  loss       weights + moments + all activations, logits among them, + a slice of these, or them in bfloat16
  backward   at each stage: weights + moments + activations of the stages up to it + its short-lived values + gradients
             of its own weights and of the stages after it (in micro-batches: all gradients, and its own once more)
  optimizer  weights + moments + all gradients

The batch is held to the end of the step. On a CPU there is what its allocator loses, a share of all that does not stay
from step to step; in bfloat16 its library keeps code for the shapes of matmuls. Not counted: all other code, and the
corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from switchbench.cost.activations import INDEX, WIDE, Activations, Conditions, DeviceKind
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
ALLOCATOR_LOSS: dict[Precision, float] = {"float32": 0.2, "bfloat16": 0.3}
"""Bytes that a CPU's allocator loses per byte of a step; with that of the logits the only figures that are measured.

Asked for aligned memory, glibc looks for a place that is larger by the alignment: a tensor does not fit where one of
its own size has been, unless what was cut off there has rejoined it. With glibc 2.36, set as runs are, it lost 0 to
0.4 in float32, and 0.1 to 0.5 in bfloat16, where tensors of two widths alternate.
"""
ALLOCATOR_LOSS_OF_LOGITS: dict[Precision, float] = {"float32": 0.0, "bfloat16": 0.3}
"""The same of the logits, which are one tensor, the last of the forward pass, and find their place again in each step.

In bfloat16 there are two: those of the matmul, whose place is too small for their gradient, a third of both together.
"""

KERNEL = 640 * 2**10
"""Bytes of code that oneDNN makes on a CPU for every shape of a bfloat16 matmul, whatever the shape."""
KERNELS = 32
"""Shapes that it keeps the code of, as runs are set; the loads of experts have more of them than that."""
KERNELS_OF_DENSE = 15
"""Shapes of a dense model: five matmuls (two of attention, two of the layer, the output), and two gradients of each."""


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
    """Tokens, which are held to the end of the step."""
    temporary: int
    """Short-lived values at the moment of the peak."""
    allocator: int
    """What the allocator of a CPU loses; 0 on a GPU, where the peak is that of the allocated bytes."""
    kernels: int
    """Code of bfloat16 matmuls on a CPU, which is made while they are computed."""
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
    return _memory(a, stages, batch=batch, conditions=conditions, recompute=recompute)


def count_memory(
    spec: RunSpec,
    *,
    device: DeviceKind = "cpu",
    backend: Backend = "loop",
    micro_batch_tokens: int | None = None,
    kept: Sequence[int] | None = None,
) -> Memory:
    """Count the memory of a training step of a run.

    Args:
        spec: The run.
        device: Where; on a CPU attention is done in float32.
        backend: What computes the experts.
        micro_batch_tokens: Tokens of a micro-batch, whole routing groups; None: the whole batch at once.
        kept: Assignments that each sparse layer really kept; None: as many as there are, or as there are slots.
    """
    a, ffn, precision = architecture_of(spec.model, vocab_size=spec.vocab_size), spec.model.ffn, spec.train.precision
    tokens, seq_len = micro_batch_tokens or spec.train.batch_tokens, spec.data.seq_len
    batch = Batch(sequences=tokens // seq_len, source_len=0, target_len=seq_len)
    conditions = Conditions(precision=precision, device=device, backend=backend, router="switch")
    layers = spec.model.sparse_layers
    if isinstance(ffn, SparseFFNSpec):
        group = min(spec.routing_group_tokens, tokens)
        slots = _num_slots(a, group_tokens=group, capacity_factor=ffn.capacity_factor)
        if ffn.router == "expert_choice":
            slots = round(group * ffn.top_k * provisioned_over_useful(spec))
        slots *= tokens // group
        conditions = replace(
            conditions,
            router=ffn.router,
            router_precision=ffn.router_precision,
            normalizes_gates=ffn.router == "top_k" and ffn.normalize_gates,
            has_jitter=ffn.router_jitter > 0,
            has_dropout=ffn.expert_dropout > 0,
            num_groups=tokens // group,
            num_slots=slots,
        )
        most = slots if ffn.router == "expert_choice" else min(slots, tokens * ffn.top_k)
        kept = [most] * len(layers) if kept is None else kept
    stages = stages_of(a, conditions, batch=batch, kept=kept or (), sparse_layers=frozenset(layers))
    return _memory(a, stages, batch=batch, conditions=conditions, is_added_up=tokens < spec.train.batch_tokens)


def _memory(
    a: Architecture,
    stages: list[Stage],
    *,
    batch: Batch,
    conditions: Conditions,
    recompute: bool = False,
    is_added_up: bool = False,
) -> Memory:
    """Go through the moments of a step, of its last micro-batch where there are several, and take the largest."""
    weights = WIDE * parameters_of(a).total
    held = (batch.source + 2 * batch.target) * INDEX
    steady = weights * (1 + MOMENTS)
    kept = [_kept_until_needed(stage, stages, recompute=recompute, batch=batch, a=a) for stage in stages]
    activations = sum(kept, start=Activations())
    moments = [(weights, 0, 0, "optimizer")]
    gradients, below = weights if is_added_up else 0, activations.total
    for index in reversed(range(len(stages))):
        stage, again = stages[index], 0
        temporary = stage.temporary
        if is_added_up:
            temporary += WIDE * stage.weights
        else:
            gradients += WIDE * stage.weights
        if recompute and stage.block is not None:
            again = sum(other.kept.total for other in stages[: index + 1] if other.block == stage.block)
        size = below + again + gradients + temporary
        moments.append((size, temporary, stage.logits, _name(stage)))
        below -= kept[index].total
    largest, temporary, logits, name = max(moments)
    lost = kernels = 0
    if conditions.device == "cpu":
        others = largest + held - logits
        precision = conditions.precision
        if precision == "bfloat16":
            kernels = KERNEL * (KERNELS if a.sparse_layers else KERNELS_OF_DENSE)
        lost = round(ALLOCATOR_LOSS[precision] * others + ALLOCATOR_LOSS_OF_LOGITS[precision] * logits)
    return Memory(
        weights=weights,
        gradients=weights,
        optimizer=MOMENTS * weights,
        activations=activations,
        held=held,
        temporary=temporary,
        allocator=lost,
        kernels=kernels,
        peak=steady + held + largest + lost + kernels,
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
