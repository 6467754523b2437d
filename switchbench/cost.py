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

from switchbench.spec import ModelSpec, RunSpec, SparseFFNSpec, expert_capacity, is_gated

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
    """Useful forward FLOPs per token, per component."""

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

    Source:
        The formula of the Switch Transformer's T5 stacks, decoder only, with QK-norm scales of width d_head.
    """
    d, layers, sparse = model.d_model, model.num_layers, len(model.sparse_layers)
    ffn = model.ffn
    experts = ffn if isinstance(ffn, SparseFFNSpec) else None
    expert = _ffn_weights(model, d_ff=ffn.d_ff)
    return Parameters(
        embedding=vocab_size * d,
        attention=layers * 4 * d * model.num_heads * model.d_head,
        dense_ffn=(layers - sparse) * _ffn_weights(model, d_ff=_dense_d_ff(model)),
        experts=sparse * (experts.num_experts + experts.shared_experts) * expert if experts else 0,
        router=sparse * d * experts.num_experts if experts and experts.router != "hash" else 0,
        norm=layers * (2 * d + 2 * model.d_head) + d,
        output=0 if model.tied_output else vocab_size * d,
        inactive=sparse * (experts.num_experts - experts.top_k) * expert if experts else 0,
    )


def count_forward_flops(model: ModelSpec, *, vocab_size: int, seq_len: int) -> ForwardFlops:
    """Count the useful forward FLOPs per token.

    Args:
        model: The model.
        vocab_size: Vocabulary, V.
        seq_len: Positions per sequence, S.
    """
    d, layers, sparse = model.d_model, model.num_layers, len(model.sparse_layers)
    ffn = model.ffn
    experts = ffn if isinstance(ffn, SparseFFNSpec) else None
    expert = _ffn_weights(model, d_ff=ffn.d_ff)
    width = model.num_heads * model.d_head
    return ForwardFlops(
        attention_projections=2.0 * layers * 4 * d * width,
        attention_map=4.0 * layers * width * seq_len,
        dense_ffn=2.0 * (layers - sparse) * _ffn_weights(model, d_ff=_dense_d_ff(model)),
        routed_experts=2.0 * sparse * experts.top_k * expert if experts else 0.0,
        shared_experts=2.0 * sparse * experts.shared_experts * expert if experts else 0.0,
        router=2.0 * sparse * d * experts.num_experts if experts and experts.router != "hash" else 0.0,
        output=2.0 * vocab_size * d,
    )


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


def _ffn_weights(model: ModelSpec, *, d_ff: int) -> int:
    """Weights of a dense layer or an expert; two matrices, three when gated."""
    return (3 if is_gated(model.ffn.activation) else 2) * model.d_model * d_ff


def _dense_d_ff(model: ModelSpec) -> int:
    """Hidden width of the dense layers: in a sparse model, that of the experts that a token meets together."""
    return model.ffn.active_d_ff if isinstance(model.ffn, SparseFFNSpec) else model.ffn.d_ff
