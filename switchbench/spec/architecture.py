"""The architecture of a model, as far as its costs depend on it: ours, and published ones that nobody builds here."""

from dataclasses import dataclass

from switchbench.spec.ffn import SparseFFNSpec, is_gated
from switchbench.spec.model import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A decoder-only or an encoder-decoder Transformer without biases.

    A decoder of an encoder-decoder model attends to the encoder's output in every layer. Sparse layers have
    ``num_experts`` routed experts and ``shared_d_ff`` of shared ones; the other layers are dense.
    """

    d_model: int
    """Width, D."""
    vocab_size: int
    """Vocabulary, V."""
    num_heads: int
    """Query heads, H."""
    num_kv_heads: int
    """Key and value heads; fewer than H with grouped queries."""
    d_head: int
    """Width of a head, K."""
    d_ff: int
    """Hidden width of a dense layer."""
    is_gated: bool
    """Whether feed-forward layers and experts have three matrices instead of two."""
    decoder_layers: int
    """Layers of the decoder."""
    is_gelu: bool = False
    """Whether an ungated layer's activation is GELU, whose backward pass needs its input too, and not ReLU."""
    encoder_layers: int = 0
    """Layers of the encoder; 0: decoder-only."""
    sparse_layers: int = 0
    """Sparse layers of both stacks together."""
    sparse_encoder_layers: int = 0
    """Those of the encoder."""
    num_experts: int = 0
    """Routed experts of a sparse layer, E."""
    top_k: int = 0
    """Routed experts that a token meets."""
    expert_d_ff: int = 0
    """Hidden width of a routed expert."""
    shared_d_ff: int = 0
    """Hidden width of the shared experts of a sparse layer, together."""
    has_router: bool = True
    """Whether sparse layers have a router with weights, D·E."""
    is_output_tied: bool = False
    """Whether the output projection is the embedding table."""
    qk_norm_scales: int = 0
    """Norm scales of queries and keys, per attention."""
    position_tables: int = 0
    """Tables of relative positions, of 32 buckets per head."""

    @property
    def ffn_matrices(self) -> int:
        """Matrices of a feed-forward layer."""
        return 3 if self.is_gated else 2

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether there are two stacks."""
        return self.encoder_layers > 0


def architecture_of(model: ModelSpec, *, vocab_size: int) -> Architecture:
    """Give the architecture of a model of ours.

    Args:
        model: The model.
        vocab_size: Vocabulary, V.
    """
    ffn = model.ffn
    shape = Architecture(
        d_model=model.d_model,
        vocab_size=vocab_size,
        num_heads=model.num_heads,
        num_kv_heads=model.num_heads,
        d_head=model.d_head,
        d_ff=ffn.active_d_ff if isinstance(ffn, SparseFFNSpec) else ffn.d_ff,
        is_gated=is_gated(ffn.activation),
        is_gelu=ffn.activation == "gelu",
        decoder_layers=model.num_layers,
        is_output_tied=model.tied_output,
        qk_norm_scales=2 * model.d_head,
    )
    if not isinstance(ffn, SparseFFNSpec):
        return shape
    return Architecture(
        **vars(shape)
        | {
            "sparse_layers": len(model.sparse_layers),
            "num_experts": ffn.num_experts,
            "top_k": ffn.top_k,
            "expert_d_ff": ffn.d_ff,
            "shared_d_ff": ffn.shared_experts * ffn.d_ff,
            "has_router": ffn.router != "hash",
        }
    )
