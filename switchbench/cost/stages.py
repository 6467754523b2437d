"""A training step as a list of stages in the order of the forward pass, each with what it keeps and what it needs.

A stage is half a block (a norm, and the attention or feed-forward layer after it), or what comes before and after the
blocks. Going forward a stage adds what it keeps; going back it needs all that is still kept, room for its short-lived
values, and leaves the gradients of its weights.

Axes: T tokens, D width, F hidden width, V vocabulary, N kept assignments of tokens to experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    sparse_activations,
)
from switchbench.spec import Architecture


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
    """Bytes of the short-lived values of its backward pass, at their most."""


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
            stages.append(_sparse(a, conditions, block=block, tokens=tokens, kept=next(left)))
        else:
            stages.append(_dense(a, conditions, block=block, tokens=tokens))
        if block == a.encoder_layers - 1:
            stages.append(_norm(a, conditions, tokens=tokens))
    stages += [_norm(a, conditions, tokens=batch.target), _output(a, conditions, tokens=batch.target)]
    return stages


def _embedding(a: Architecture, *, batch: Batch) -> Stage:
    """The lookup, its gradient as large as the table; a tied one is first laid out anew, then added."""
    table = a.vocab_size * a.d_model * WIDE
    rotations = (batch.source_len + batch.target_len) * a.d_head * WIDE if a.position_tables == 0 else 0
    tokens = batch.source + batch.target
    return Stage(
        name="embedding",
        block=None,
        kept=Activations(attention=rotations),
        weights=a.vocab_size * a.d_model,
        temporary=tokens * a.d_model * WIDE + (table if a.is_output_tied else 0),
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
        temporary=_dense_temporary(a, conditions, tokens=tokens, d_ff=a.d_ff),
    )


def _dense_temporary(a: Architecture, conditions: Conditions, *, tokens: int, d_ff: int) -> int:
    """Gradient of the residual stream, of the activated values and of what they were made of."""
    width = conditions.width
    hidden = tokens * d_ff * width * (1 if a.is_gelu and not a.is_gated else 2)
    copies = a.d_model * d_ff * width if width < WIDE else 0
    return tokens * a.d_model * WIDE + hidden + copies


def _sparse(a: Architecture, conditions: Conditions, *, block: int, tokens: int, kept: int) -> Stage:
    """At the most: gathered tokens, gradients of the answers and of these, and the same added up for each token."""
    width = conditions.width
    rows = conditions.num_slots if conditions.backend == "padded" else kept
    routed = 3 * rows * a.d_model * width + tokens * a.d_model * (WIDE + width)
    if conditions.backend != "loop":
        routed += 2 * rows * a.expert_d_ff * width
    if width < WIDE:
        routed += a.num_experts * a.d_model * a.expert_d_ff * width
    shared = _dense_temporary(a, conditions, tokens=tokens, d_ff=a.shared_d_ff) if a.shared_d_ff else 0
    return Stage(
        name="sparse layer",
        block=block,
        kept=norm_activations(
            conditions, tokens=tokens, d_model=a.d_model, is_result_kept=keeps_its_input(a, conditions)
        )
        + sparse_activations(a, conditions, tokens=tokens, kept=kept),
        weights=a.ffn_matrices * a.d_model * (a.num_experts * a.expert_d_ff + a.shared_d_ff)
        + (a.d_model * a.num_experts if a.has_router else 0)
        + a.d_model,
        temporary=max(routed, shared),
    )


def _norm(a: Architecture, conditions: Conditions, *, tokens: int) -> Stage:
    """At the most: the gradient that comes, two products with it, and the gradient that goes."""
    return Stage(
        name="last norm",
        block=None,
        kept=norm_activations(conditions, tokens=tokens, d_model=a.d_model),
        weights=a.d_model,
        temporary=4 * tokens * a.d_model * WIDE,
    )


def _output(a: Architecture, conditions: Conditions, *, tokens: int) -> Stage:
    """Gradient of the logits, once more where the matmul is of lower precision."""
    narrow = conditions.width if conditions.width < WIDE else 0
    return Stage(
        name="output",
        block=None,
        kept=logits_activations(a, conditions, tokens=tokens),
        weights=0 if a.is_output_tied else a.vocab_size * a.d_model,
        temporary=tokens * a.vocab_size * (WIDE + narrow),
    )
