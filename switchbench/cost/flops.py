"""Forward FLOPs per component of an architecture.

Conventions: 2 FLOPs per multiply-add; the router is counted; attention is counted over all S positions (causality not
discounted); norms, activations, rotary and softmax are not counted; the embedding lookup is free.
"""

from dataclasses import dataclass, fields

from switchbench.spec import Architecture, ModelSpec, architecture_of


@dataclass(frozen=True, kw_only=True)
class ForwardFlops:
    """Useful forward FLOPs, per component; of a token, where nothing else is said."""

    attention_projections: float
    """Query, key, value and output projections."""
    attention_map: float
    """Scores and weighted sum over all S positions."""
    dense_ffn: float
    """Dense feed-forward layers."""
    routed_experts: float
    """The top_k experts that a token is sent to in each sparse layer."""
    shared_experts: float
    """The experts that every token meets."""
    router: float
    """Routers."""
    output: float
    """Output projection."""

    @property
    def total(self) -> float:
        """All components."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


@dataclass(frozen=True, kw_only=True)
class SequenceFlops:
    """Useful forward FLOPs of one sequence."""

    num_tokens: int
    """Tokens, source and target together."""
    total: ForwardFlops
    """Per component."""

    @property
    def per_token(self) -> ForwardFlops:
        """The same divided by the number of tokens."""
        values = {field.name: getattr(self.total, field.name) / self.num_tokens for field in fields(self.total)}
        return ForwardFlops(**values)


def count_forward_flops(model: ModelSpec, *, vocab_size: int, seq_len: int) -> ForwardFlops:
    """Count the useful forward FLOPs per token.

    Args:
        model: The model.
        vocab_size: Vocabulary, V.
        seq_len: Positions per sequence, S.
    """
    return forward_flops_of(architecture_of(model, vocab_size=vocab_size), source_len=0, target_len=seq_len).per_token


def forward_flops_of(architecture: Architecture, *, source_len: int, target_len: int) -> SequenceFlops:
    """Count the useful forward FLOPs of one sequence, by our conventions.

    Every weight counts for the tokens that it meets: the encoder's for the source, the decoder's for the target, the
    keys and values of the decoder's second attention for the source. Each attention map is counted in full.

    Args:
        architecture: The architecture.
        source_len: Tokens of the encoder; 0 for a decoder-only model.
        target_len: Tokens of the decoder.
    """
    a = architecture
    d, width, kv_width = a.d_model, a.num_heads * a.d_head, a.num_kv_heads * a.d_head
    encoded, decoded = a.encoder_layers * source_len, a.decoder_layers * target_len
    crossed = target_len if a.is_encoder_decoder else 0
    sparse_tokens = a.sparse_encoder_layers * source_len + (a.sparse_layers - a.sparse_encoder_layers) * target_len
    ffn = 2.0 * a.ffn_matrices * d
    return SequenceFlops(
        num_tokens=source_len + target_len,
        total=ForwardFlops(
            attention_projections=2.0 * d * (2 * width + 2 * kv_width) * (encoded + decoded)
            + 2.0 * a.decoder_layers * d * (2 * width * crossed + 2 * kv_width * (source_len if crossed else 0)),
            attention_map=4.0
            * width
            * (encoded * source_len + decoded * target_len + a.decoder_layers * crossed * source_len),
            dense_ffn=ffn * a.d_ff * (encoded + decoded - sparse_tokens),
            routed_experts=ffn * a.top_k * a.expert_d_ff * sparse_tokens,
            shared_experts=ffn * a.shared_d_ff * sparse_tokens,
            router=2.0 * d * a.num_experts * sparse_tokens if a.has_router else 0.0,
            output=2.0 * a.vocab_size * d * target_len,
        ),
    )


def paper_forward_flops(architecture: Architecture, *, source_len: int = 512, target_len: int = 114) -> float:
    """Count the forward FLOPs of one sequence as Table 9 of the Switch Transformer does.

    Departures of the paper from our conventions: all weights of the decoder, the keys and values of its second
    attention too, count per target token; attention maps count half as much, the decoder's own a quarter; the router is
    not counted.

    Args:
        architecture: An encoder-decoder architecture.
        source_len: Tokens of the encoder; the paper's are 512.
        target_len: Tokens of the decoder; 114 reproduce the table.

    Source:
        Our reconstruction: gives the table's 124B, 425B, 6.3T and 890B.
    """
    a = architecture
    matrices, width = a.ffn_matrices * a.d_model, a.num_heads * a.d_head
    attention = 4 * a.d_model * width

    def ffn(layers: int, sparse: int) -> int:
        return (layers - sparse) * matrices * a.d_ff + sparse * matrices * (a.top_k * a.expert_d_ff + a.shared_d_ff)

    encoder = a.encoder_layers * attention + ffn(a.encoder_layers, a.sparse_encoder_layers)
    decoder = 2 * a.decoder_layers * attention + ffn(a.decoder_layers, a.sparse_layers - a.sparse_encoder_layers)
    maps = a.encoder_layers * source_len**2 + a.decoder_layers * (target_len**2 / 2 + source_len * target_len)
    output = a.vocab_size * a.d_model * target_len
    return 2.0 * (encoder * source_len + decoder * target_len + output + width * maps)
