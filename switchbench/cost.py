"""What a model costs, by arithmetic from its specification alone: parameters and FLOPs per component. No torch.

Conventions: 2 FLOPs per multiply-add; training = 3 x forward; the router is counted; attention is counted over all S
positions (causality not discounted); norms, activations, rotary and softmax are not counted; the embedding lookup is
free.

Three figures for training (they differ in the experts alone):
  useful       every token meets its top_k experts: nothing dropped, no padding;
  provisioned  all E·C slots are computed, filled or not: what static shapes cost on an accelerator;
  executed     what the recorded dispatch really computed: the kept assignments, or all slots where it pads.
"""

from dataclasses import dataclass, fields

from switchbench.spec import Architecture, ModelSpec, RunSpec, SparseFFNSpec, architecture_of, expert_capacity

RELATIVE_POSITION_BUCKETS = 32
"""Entries per head in a T5 table of relative positions."""
TRAIN_OVER_FORWARD = 3
"""Training FLOPs over forward FLOPs: the backward pass multiplies twice for each forward multiplication."""


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


@dataclass(frozen=True, kw_only=True)
class TrainFlops:
    """Training FLOPs of a number of steps; see the module's docstring for the three figures."""

    useful: float
    """Nothing dropped, no padding."""
    provisioned: float
    """All E·C slots computed."""
    executed: float
    """What the dispatch really computed."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Everything that arithmetic says about a run before it is started."""

    parameters: Parameters
    """Weights."""
    forward_flops_per_token: ForwardFlops
    """Useful forward FLOPs per token."""
    train_flops: TrainFlops
    """Training FLOPs up to the last annealed point, with nothing dropped."""
    trained_flops: TrainFlops
    """The same over all steps that are computed, every cooldown included."""


def cost_of(spec: RunSpec) -> Cost:
    """Count a run's parameters and FLOPs.

    Args:
        spec: The run.
    """
    return Cost(
        parameters=count_parameters(spec.model, vocab_size=spec.vocab_size),
        forward_flops_per_token=count_forward_flops(spec.model, vocab_size=spec.vocab_size, seq_len=spec.data.seq_len),
        train_flops=count_train_flops(spec, num_steps=spec.train.num_steps),
        trained_flops=count_train_flops(spec, num_steps=spec.train.trained_steps),
    )


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


def count_train_flops(spec: RunSpec, *, num_steps: int, computed_share: float = 1.0) -> TrainFlops:
    """Count the training FLOPs of a number of steps.

    Args:
        spec: The run.
        num_steps: Optimizer steps.
        computed_share: From ``computed_share``; 1 is what is known before the run.
    """
    forward = count_forward_flops(spec.model, vocab_size=spec.vocab_size, seq_len=spec.data.seq_len)
    tokens = float(num_steps) * spec.train.batch_tokens
    experts = TRAIN_OVER_FORWARD * forward.routed_experts * tokens
    useful = TRAIN_OVER_FORWARD * forward.total * tokens
    provisioned = useful - experts + experts * provisioned_over_useful(spec)
    executed = useful - experts + experts * computed_share
    return TrainFlops(useful=useful, provisioned=provisioned, executed=executed)


def computed_share(spec: RunSpec, *, computed_slots: int, num_steps: int) -> float:
    """Give the computed slots over the T·top_k assignments per layer that no dropping would fill; 1 for a dense model.

    Args:
        spec: The run.
        computed_slots: Slots that were computed, over all layers and steps: the filled ones, or all where padded.
        num_steps: Steps.
    """
    if not isinstance(spec.model.ffn, SparseFFNSpec):
        return 1.0
    per_step = len(spec.model.sparse_layers) * spec.train.batch_tokens * spec.model.ffn.top_k
    return computed_slots / (num_steps * per_step)


def provisioned_over_useful(spec: RunSpec) -> float:
    """Give the slots over the assignments, E·C/(T·top_k): the capacity factor that rounding really gives.

    An expert of ``expert_choice`` has no more slots than there are tokens.

    1 for a dense model, and for a dropless one, whose kernels have no static shapes to fill.
    """
    ffn = spec.model.ffn
    if not isinstance(ffn, SparseFFNSpec) or ffn.capacity_factor is None:
        return 1.0
    group = spec.routing_group_tokens
    capacity = expert_capacity(group, num_experts=ffn.num_experts, capacity_factor=ffn.capacity_factor, top_k=ffn.top_k)
    if ffn.router == "expert_choice":
        capacity = min(capacity, group)
    return capacity * ffn.num_experts / (group * ffn.top_k)
