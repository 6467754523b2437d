"""Parameters per component of an architecture."""

from dataclasses import dataclass

from switchbench.spec import Architecture, ModelSpec, architecture_of

RELATIVE_POSITION_BUCKETS = 32
"""Entries per head in a T5 table of relative positions."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Weights of a model, per component."""

    embedding: int
    """Embedding table, V·D."""
    attention: int
    """Query, key, value and output projections of all blocks."""
    dense_ffn: int
    """All dense feed-forward layers."""
    experts: int
    """All experts of all sparse layers, shared ones included."""
    router: int
    """All routers."""
    norm: int
    """Norm scales: two per block, one at the end, and the QK-norms."""
    output: int
    """Output projection; 0 where tied to the embedding."""
    inactive: int
    """Expert weights that one token does not meet (``expert_choice``: on average)."""

    @property
    def total(self) -> int:
        """All weights."""
        return self.embedding + self.attention + self.dense_ffn + self.experts + self.router + self.norm + self.output

    @property
    def active(self) -> int:
        """Weights that one token meets."""
        return self.total - self.inactive

    @property
    def non_embedding(self) -> int:
        """All weights but the embedding table and the output projection."""
        return self.total - self.embedding - self.output


def count_parameters(model: ModelSpec, *, vocab_size: int) -> Parameters:
    """Count the weights of a model.

    Args:
        model: The model.
        vocab_size: Vocabulary, V.
    """
    return parameters_of(architecture_of(model, vocab_size=vocab_size))


def parameters_of(architecture: Architecture) -> Parameters:
    """Count the weights of an architecture.

    With M = D·K·(2·H + 2·kv) weights per attention, F = 2 or 3 matrices of D·d_ff, one attention per layer and one more
    per decoder layer of an encoder-decoder model; one norm before every attention and feed-forward layer and one at the
    end of every stack.

    Args:
        architecture: The architecture.

    Source:
        Switch Transformer's T5 stacks: gives T5-Base's 222,903,552 to the last weight.
    """
    a = architecture
    d, layers = a.d_model, a.encoder_layers + a.decoder_layers
    attentions = layers + (a.decoder_layers if a.is_encoder_decoder else 0)
    stacks = 2 if a.is_encoder_decoder else 1
    expert = a.ffn_matrices * d * a.expert_d_ff
    return Parameters(
        embedding=a.vocab_size * d,
        attention=attentions * d * a.d_head * (2 * a.num_heads + 2 * a.num_kv_heads)
        + a.position_tables * RELATIVE_POSITION_BUCKETS * a.num_heads,
        dense_ffn=(layers - a.sparse_layers) * a.ffn_matrices * d * a.d_ff,
        experts=a.sparse_layers * (a.num_experts * expert + a.ffn_matrices * d * a.shared_d_ff),
        router=a.sparse_layers * d * a.num_experts if a.has_router else 0,
        norm=(attentions + layers + stacks) * d + attentions * a.qk_norm_scales,
        output=0 if a.is_output_tied else a.vocab_size * d,
        inactive=a.sparse_layers * (a.num_experts - a.top_k) * expert,
    )
