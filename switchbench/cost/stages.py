"""A training step as a list of stages in the order of the forward pass, each with what it keeps and what it needs.

A stage is a part of a block (a norm with the attention, dense layer or router after it; experts), or what comes before
and after the blocks. Going forward a stage adds what it keeps; going back it needs all that is still kept, room for its
short-lived values, and leaves the gradients of its weights.

Axes: T tokens, D width, F hidden width, V vocabulary, N kept assignments of tokens to experts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from switchbench.cost.activations import (
    WIDE,
    Activations,
    Conditions,
    attention_activations,
    attention_weights,
    ffn_activations,
    keeps_its_input,
    logits_activations,
    norm_activations,
    router_copies,
    sparse_activations,
)
from switchbench.spec import Architecture

LOSS_SLICES = 16
"""Slices of its tokens that a training step takes the loss in: beside the logits it needs room for one of them."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of the forward pass."""

    name: str
    """What it is, for people."""
    block: int | None
    """Number of the block that it is a part of."""
    kept: Activations
    """What the backward pass keeps of it."""
    weights: int
    """Weights that have their gradients once the backward pass has gone through it."""
    temporary: int
    """Bytes of its short-lived values, at their most."""
    logits: int = 0
    """Bytes as large as the logits, or their gradient, that there are at that moment."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tokens of one step."""

    sequences: int
    """Sequences."""
    source_len: int
    """Tokens of the encoder per sequence; 0: none."""
    target_len: int
    """Tokens of the decoder per sequence."""

    @property
    def source(self) -> int:
        """Tokens of the encoder."""
        return self.sequences * self.source_len

    @property
    def target(self) -> int:
        """Tokens of the decoder."""
        return self.sequences * self.target_len


def stages_of(
    architecture: Architecture,
    conditions: Conditions,
    *,
    batch: Batch,
    kept: Sequence[int],
    sparse_layers: frozenset[int],
) -> list[Stage]:
    """List the stages of a training step, in the order of the forward pass.

    Args:
        architecture: The model.
        conditions: How it is computed.
        batch: Tokens of the step.
        kept: Kept assignments of each sparse layer, N, from the bottom up.
        sparse_layers: Numbers of the sparse blocks, those of the encoder first.
    """
    a, left = architecture, iter(kept)
    stages = [_embedding(a, batch=batch)]
    for block in range(a.encoder_layers + a.decoder_layers):
        is_encoder = block < a.encoder_layers
        tokens = batch.source if is_encoder else batch.target
        stages.append(_attention(a, conditions, name="attention", block=block, queries=tokens, keys=tokens))
        if a.is_encoder_decoder and not is_encoder:
            name = "attention to the encoder"
            stages.append(_attention(a, conditions, name=name, block=block, queries=tokens, keys=batch.source))
        if block in sparse_layers:
            stages += _sparse(a, conditions, block=block, tokens=tokens, kept=next(left))
        else:
            stages.append(_dense(a, conditions, block=block, tokens=tokens))
        if block == a.encoder_layers - 1:
            stages.append(_norm(a, conditions, tokens=tokens))
    return [*stages, _norm(a, conditions, tokens=batch.target), *_output(a, conditions, tokens=batch.target)]


def _embedding(a: Architecture, *, batch: Batch) -> Stage:
    """The lookup. Its gradient is as large as the table; a tied one's and the output projection's make a third."""
    table = a.vocab_size * a.d_model * WIDE
    rotations = (batch.source_len + batch.target_len) * a.d_head * WIDE if a.position_tables == 0 else 0
    tokens = batch.source + batch.target
    return Stage(
        name="embedding",
        block=None,
        kept=Activations(attention=rotations),
        weights=0 if a.is_output_tied else a.vocab_size * a.d_model,
        temporary=tokens * a.d_model * WIDE + (2 * table if a.is_output_tied else 0),
    )


def _attention(a: Architecture, conditions: Conditions, *, name: str, block: int, queries: int, keys: int) -> Stage:
    """At the most: gradients of the residual stream, the result, the queries, keys and values."""
    heads = 2 * queries * a.num_heads + 2 * keys * a.num_kv_heads
    return Stage(
        name=name,
        block=block,
        kept=norm_activations(conditions, tokens=queries, d_model=a.d_model)
        + attention_activations(a, conditions, queries=queries, keys=keys),
        weights=attention_weights(a) + a.d_model + a.qk_norm_scales,
        temporary=queries * a.d_model * WIDE + heads * a.d_head * conditions.map_width,
    )


def _dense(a: Architecture, conditions: Conditions, *, block: int, tokens: int) -> Stage:
    return Stage(
        name="dense layer",
        block=block,
        kept=norm_activations(conditions, tokens=tokens, d_model=a.d_model)
        + ffn_activations(a, conditions, tokens=tokens, d_ff=a.d_ff),
        weights=a.ffn_matrices * a.d_model * a.d_ff + a.d_model,
        temporary=_hidden_gradients(a, conditions, tokens=tokens, rows=tokens, d_ff=a.d_ff)
        + conditions.copies(a.d_model * a.d_ff).weight_copies,
    )


def _hidden_gradients(a: Architecture, conditions: Conditions, *, tokens: int, rows: int, d_ff: int) -> int:
    """Gradient of the residual stream, of the activated values and of what they were made of."""
    values = 1 if a.is_gelu and not a.is_gated else 2
    return tokens * a.d_model * WIDE + rows * d_ff * conditions.width * values


def _sparse(a: Architecture, conditions: Conditions, *, block: int, tokens: int, kept: int) -> list[Stage]:
    """The router; the experts, whose narrow gradients become float32 once all else of them is gone; shared experts."""
    width, is_loop, is_narrow = conditions.width, conditions.backend == "loop", conditions.width < WIDE
    matrix, stream = a.num_experts * a.d_model * a.expert_d_ff, tokens * a.d_model * WIDE
    experts = a.ffn_matrices * matrix
    late = experts if is_narrow else (0 if is_loop else matrix)
    if is_loop:
        # Gathered tokens, gradients of the answers and of these, and the same added up for each token.
        routed = stream + (3 * kept + tokens) * a.d_model * width
    else:
        rows = conditions.num_slots if conditions.backend == "padded" else kept
        routed = _hidden_gradients(a, conditions, tokens=tokens, rows=rows, d_ff=a.expert_d_ff)
    activations = sparse_activations(a, conditions, tokens=tokens, kept=kept)
    norm = norm_activations(conditions, tokens=tokens, d_model=a.d_model, is_result_kept=keeps_its_input(a, conditions))
    stages = [
        Stage(
            name="router",
            block=block,
            kept=norm + Activations(router=activations.router) + router_copies(a, conditions),
            weights=a.d_model + late + (a.d_model * a.num_experts if a.has_router else 0),
            temporary=2 * stream
            + max(2 * tokens * a.num_experts * conditions.router_width, matrix * width if is_narrow else 0),
        ),
        Stage(
            name="experts",
            block=block,
            kept=replace(activations, router=0),
            weights=experts - late,
            temporary=routed + (experts * width if is_narrow else 0),
        ),
    ]
    if a.shared_d_ff == 0:
        return stages
    hidden = ffn_activations(a, conditions, tokens=tokens, d_ff=a.shared_d_ff)
    shared = Stage(
        name="shared experts",
        block=block,
        kept=Activations(experts=hidden.dense_ffn, weight_copies=hidden.weight_copies),
        weights=a.ffn_matrices * a.d_model * a.shared_d_ff,
        temporary=_hidden_gradients(a, conditions, tokens=tokens, rows=tokens, d_ff=a.shared_d_ff),
    )
    return [*stages, shared]


def _norm(a: Architecture, conditions: Conditions, *, tokens: int) -> Stage:
    """At the most: the gradient that comes, two products with it, and the gradient that goes."""
    return Stage(
        name="last norm",
        block=None,
        kept=norm_activations(conditions, tokens=tokens, d_model=a.d_model),
        weights=a.d_model,
        temporary=4 * tokens * a.d_model * WIDE,
    )


def _output(a: Architecture, conditions: Conditions, *, tokens: int) -> list[Stage]:
    """The projection, and the loss, in whose place are the logits before it and their gradient after it.

    Beside them: a slice while the loss is taken; where the matmul is narrow, its own logits or their gradient.
    """
    kept = logits_activations(a, conditions, tokens=tokens)
    table, logits = a.vocab_size * a.d_model, tokens * a.vocab_size
    is_narrow = conditions.width < WIDE
    beside = logits * conditions.width if is_narrow else math.ceil(tokens / LOSS_SLICES) * a.vocab_size * WIDE
    return [
        Stage(
            name="output projection",
            block=None,
            kept=replace(kept, logits=0),
            weights=table,
            temporary=logits * conditions.width + conditions.copies(table).weight_copies,
            logits=logits * conditions.width,
        ),
        Stage(
            name="loss",
            block=None,
            kept=Activations(logits=kept.logits),
            weights=0,
            temporary=beside,
            logits=kept.logits + beside,
        ),
    ]
