"""The feed-forward layer: dense, or sparse with its routing; and how many slots an expert gets."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from switchbench.errors import SpecError
from switchbench.spec.fields import Float, Int, Precision, Spec

Activation = Literal["relu", "gelu", "swiglu", "geglu"]
Router = Literal["switch", "top_k", "expert_choice", "hash"]


class DenseFFNSpec(Spec):
    """A dense feed-forward layer in every block."""

    kind: Literal["dense"]
    d_ff: Int = Field(ge=1, description="Hidden width, F. Default: 4·d_model, or 8/3·d_model when gated.")
    activation: Activation = Field("relu", description="`relu`, `gelu`, or gated: `swiglu`, `geglu`.")


class SparseFFNSpec(Spec):
    """A layer of experts in a share of the blocks; a dense one, as wide as what a token meets, in the others."""

    kind: Literal["sparse"]
    d_ff: Int = Field(ge=1, description="Hidden width of each expert, F. Default: as for a dense layer.")
    activation: Activation = Field("relu", description="`relu`, `gelu`, or gated: `swiglu`, `geglu`.")
    router: Router = Field(
        "switch",
        description="`switch`: top-1, gate = the softmax probability. `top_k`: the k most probable. `expert_choice`: "
        "each expert takes its most probable tokens, later ones too. `hash`: fixed at random by token id.",
    )
    num_experts: Int = Field(8, ge=1, le=65536, description="Experts per sparse layer, E.")
    top_k: Int = Field(1, ge=1, description="Experts per token (`expert_choice`: on average), k.")
    normalize_gates: bool = Field(True, description="With `top_k`: whether a token's k gates sum to 1.")
    shared_experts: Int = Field(0, ge=0, le=1024, description="Experts that every token meets, beside the routed ones.")
    capacity_factor: Float | None = Field(1.25, gt=0, description="Eq. (3) of the paper; null: nothing is dropped.")
    eval_capacity_factor: Float | None = Field(
        None, gt=0, description="Capacity factor of the `nll_capacity` evaluation; null: the training factor."
    )
    switch_layer_frequency: Float = Field(
        0.5, gt=0, le=1, description="Share of blocks that are sparse; 0.5: every other, from the second."
    )
    balance: Literal["aux_loss", "bias", "none"] = Field(
        "aux_loss", description="How load is balanced: by a loss, by a bias on the choice alone, or not at all."
    )
    aux_loss_weight: Float = Field(0.01, ge=0, description="With `balance: aux_loss`: α of eq. (4).")
    balance_bias_rate: Float = Field(0.001, gt=0, description="With `balance: bias`: step of the bias per batch.")
    router_z_loss_weight: Float = Field(0.0, ge=0, description="Weight of mean(logsumexp(logits)²).")
    router_jitter: Float = Field(
        0.0, ge=0, lt=1, description="In training the router's input is multiplied by U(1-ε, 1+ε)."
    )
    expert_dropout: Float = Field(0.0, ge=0, lt=1, description="Dropout of the experts' hidden values, in training.")
    router_precision: Precision = Field(
        "float32",
        description="With `train.precision: bfloat16`: of the router's matmul, softmax and gates. `float32` is the "
        "paper's selective precision, `bfloat16` its control.",
    )
    router_init_scale: Float = Field(1.0, gt=0, description="Init scale s of the router: σ = sqrt(s/d_model).")
    gate_scale: Literal["paper", "unit_at_init"] = Field(
        "paper", description="`unit_at_init` multiplies the gate by a constant that makes its rms 1 at step 0."
    )
    routing_group_tokens: Int | None = Field(
        None, ge=1, description="Tokens routed together; null: the whole batch. Must divide the batch."
    )

    @model_validator(mode="after")
    def _check_router(self) -> Self:
        if self.router == "top_k" and self.top_k < 2:
            raise ValueError(f"router 'top_k' needs top_k of at least 2, got {self.top_k}; for one expert use 'switch'")
        if self.router in ("switch", "hash") and self.top_k != 1:
            raise ValueError(f"router {self.router!r} sends a token to one expert, got top_k {self.top_k}")
        if self.top_k > self.num_experts:
            raise ValueError(f"top_k {self.top_k} is more than num_experts {self.num_experts}")
        if self.router == "expert_choice" and self.capacity_factor is None:
            raise ValueError("router 'expert_choice' needs a capacity_factor: it is how many tokens an expert takes")
        for name, goes_with, does in _GOES_WITH:
            if getattr(self, name) != type(self).model_fields[name].default and not does(self):
                raise ValueError(f"{name} does nothing here: it goes with {goes_with}")
        return self

    @property
    def is_balanced_by_loss(self) -> bool:
        """Whether the load-balancing loss is part of the objective."""
        return self.balance == "aux_loss" and self.router in ("switch", "top_k")

    @property
    def is_causal(self) -> bool:
        """Whether a token's output depends on earlier tokens alone."""
        return self.router != "expert_choice"

    @property
    def active_d_ff(self) -> int:
        """Hidden width that one token meets: of its k experts and the shared ones together."""
        return (self.top_k + self.shared_experts) * self.d_ff

    @property
    def evaluation_capacity_factor(self) -> float | None:
        """Capacity factor of the limited evaluation; None: there is none, since training drops nothing either."""
        return self.eval_capacity_factor if self.eval_capacity_factor is not None else self.capacity_factor


_GOES_WITH: tuple[tuple[str, str, Callable[[SparseFFNSpec], bool]], ...] = (
    ("normalize_gates", "router 'top_k'", lambda ffn: ffn.router == "top_k"),
    ("balance", "routers 'switch' and 'top_k'", lambda ffn: ffn.router in ("switch", "top_k")),
    ("aux_loss_weight", "balance 'aux_loss' and routers 'switch' and 'top_k'", lambda ffn: ffn.is_balanced_by_loss),
    ("balance_bias_rate", "balance 'bias'", lambda ffn: ffn.balance == "bias"),
    ("router_z_loss_weight", "routers that learn, not with 'hash'", lambda ffn: ffn.router != "hash"),
    ("router_jitter", "routers that learn, not with 'hash'", lambda ffn: ffn.router != "hash"),
    ("router_precision", "routers that learn, not with 'hash'", lambda ffn: ffn.router != "hash"),
    ("router_init_scale", "routers that learn, not with 'hash'", lambda ffn: ffn.router != "hash"),
    ("gate_scale", "router 'switch'", lambda ffn: ffn.router == "switch"),
)
"""Fields that do nothing beside some values of others; setting them there is refused."""

FFNSpec = Annotated[DenseFFNSpec | SparseFFNSpec, Field(discriminator="kind")]


def default_d_ff(d_model: int, *, activation: str) -> int:
    """Hidden width that makes a feed-forward layer 8·d_model² weights: 4·d_model, or 8/3·d_model when gated.

    >>> default_d_ff(96, activation="relu"), default_d_ff(96, activation="swiglu")
    (384, 256)
    """
    return 8 * math.ceil(d_model / 3) if is_gated(activation) else 4 * d_model


def is_gated(activation: str) -> bool:
    """Whether an activation is a gated linear unit, which has three matrices instead of two."""
    return activation in ("swiglu", "geglu")


def expert_capacity(num_tokens: int, *, num_experts: int, capacity_factor: float | None, top_k: int = 1) -> int:
    """Token slots that each expert gets per routing group: ceil(capacity_factor · top_k · num_tokens / num_experts).

    Args:
        num_tokens: Tokens routed together, T.
        num_experts: Experts, E.
        capacity_factor: The paper's capacity factor, read as the decimal it prints as (1.1 is eleven tenths);
            None: dropless, every expert has a slot for every token.
        top_k: Experts per token.

    Raises:
        SpecError: an argument is out of range.

    Source:
        Switch Transformer eq. (3). The paper gives no rounding; the authors' code truncates and has a floor of 4.
        We round up and use no floor, so that a capacity factor of 1 always fits a balanced load.

    >>> expert_capacity(4096, num_experts=8, capacity_factor=1.25)
    640
    >>> expert_capacity(10, num_experts=4, capacity_factor=1.1)
    3
    """
    for name, value in (("num_tokens", num_tokens), ("num_experts", num_experts), ("top_k", top_k)):
        if value < 1:
            raise SpecError(f"{name} must be at least 1, got {value}")
    if capacity_factor is None:
        return num_tokens
    if not (math.isfinite(capacity_factor) and capacity_factor > 0):
        raise SpecError(f"capacity_factor must be a finite number above 0, got {capacity_factor}")
    return math.ceil(Fraction(repr(float(capacity_factor))) * top_k * num_tokens / num_experts)
