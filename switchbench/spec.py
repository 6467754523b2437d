"""What a run is: data, model and training as frozen, fully resolved specifications, and the identity made from them.

A ``RunSpec`` decides a run's result completely (on one machine with one thread count); how it is executed (device, threads,
dispatch backend) is an ``ExecutionSpec``, which is recorded but is no part of the identity.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from switchbench.errors import SpecError

SCHEMA = 1
"""Version of the specification; raised when the meaning or the default of a field changes."""

COOLDOWN_FRACTION = Fraction(1, 5)
"""Share of the tokens up to an annealed point that its cooldown takes (Hägele et al. 2024, arXiv:2405.18392)."""


class Shape(NamedTuple):
    """One rung of the size ladder."""

    d_model: int
    num_layers: int
    num_heads: int
    d_head: int


SIZES = {
    "xxs": Shape(32, 4, 2, 16),
    "xs": Shape(64, 6, 4, 16),
    "s": Shape(160, 8, 5, 32),
    "m": Shape(384, 10, 8, 48),
    "l": Shape(768, 12, 12, 64),
}
"""The size ladder: width, depth and heads grow together, about 4 to 8 times the parameters per rung (50k ... 85M)."""


def _reject_text(value: Any) -> Any:
    if isinstance(value, (str, bool)):
        raise ValueError(f"needs a number, not {type(value).__name__} {value!r}")
    return value


Int = Annotated[int, BeforeValidator(_reject_text)]
Float = Annotated[float, BeforeValidator(_reject_text)]
Activation = Literal["relu", "gelu", "swiglu", "geglu"]
Size = Literal["xxs", "xs", "s", "m", "l"]


class DataIdentity(NamedTuple):
    """What must be known of a corpus before anything is tokenized."""

    fingerprint: str
    """Hash of relative paths, bytes, tokenizer definition and split."""
    vocab_size: int
    """Vocabulary, V."""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSpec(_Spec):
    """The text, how it becomes tokens, and how it is cut."""

    corpus: Literal["python-stdlib", "text"] = Field(
        "python-stdlib",
        description="`python-stdlib` (the running interpreter's own library) or `text` (your files, with `path`).",
    )
    path: str | None = Field(
        None, description="For `text`: a file, folder or glob. Not part of the identity: the files' content is."
    )
    tokenizer: Literal["bytes"] = Field("bytes", description="`bytes`: one token per byte, vocabulary 256.")
    seq_len: Int = Field(128, ge=2, le=65536, description="Positions per sequence, S.")
    held_out_fraction: Float = Field(0.01, gt=0, lt=0.5, description="Share of the corpus (whole files) held out.")

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        if self.corpus == "text" and not self.path:
            raise ValueError("corpus 'text' needs `path`: a file, folder or glob")
        if self.corpus != "text" and self.path is not None:
            raise ValueError(f"`path` goes with corpus 'text', not with {self.corpus!r}")
        return self


class DenseFFNSpec(_Spec):
    """A dense feed-forward layer in every block."""

    kind: Literal["dense"]
    d_ff: Int = Field(ge=1, description="Hidden width, F. Default: 4·d_model, or 8/3·d_model when gated.")
    activation: Activation = Field("relu", description="`relu`, `gelu`, or gated: `swiglu`, `geglu`.")


class SparseFFNSpec(_Spec):
    """A Switch (top-1) layer in a share of the blocks, a dense one of the same d_ff in the others."""

    kind: Literal["sparse"]
    d_ff: Int = Field(ge=1, description="Hidden width of each expert, F. Default: as for a dense layer.")
    activation: Activation = Field("relu", description="`relu`, `gelu`, or gated: `swiglu`, `geglu`.")
    router: Literal["switch"] = Field("switch", description="`switch`: top-1, gate = the softmax probability.")
    num_experts: Int = Field(8, ge=1, le=65536, description="Experts per sparse layer, E.")
    capacity_factor: Float | None = Field(1.25, gt=0, description="Eq. (3) of the paper; null: nothing is dropped.")
    eval_capacity_factor: Float | None = Field(
        None, gt=0, description="Capacity factor of the `nll_capacity` evaluation; null: the training factor."
    )
    switch_layer_frequency: Float = Field(
        0.5, gt=0, le=1, description="Share of blocks that are sparse; 0.5: every other, from the second."
    )
    aux_loss_weight: Float = Field(0.01, ge=0, description="α of eq. (4).")
    router_jitter: Float = Field(
        0.0, ge=0, lt=1, description="In training the router's input is multiplied by U(1-ε, 1+ε)."
    )
    router_init_scale: Float = Field(1.0, gt=0, description="Init scale s of the router: σ = sqrt(s/d_model).")
    gate_scale: Literal["paper", "unit_at_init"] = Field(
        "paper", description="`unit_at_init` multiplies the gate by a constant that makes its rms 1 at step 0."
    )
    routing_group_tokens: Int | None = Field(
        None, ge=1, description="Tokens routed together; null: the whole batch. Must divide the batch."
    )

    @property
    def top_k(self) -> int:
        """Experts per token."""
        return 1


FFNSpec = Annotated[DenseFFNSpec | SparseFFNSpec, Field(discriminator="kind")]


class ModelSpec(_Spec):
    """A decoder-only pre-norm Transformer: RMSNorm, QK-norm, rotary positions, no biases.

    ``size`` fills the fields that are not given; it is a label, not part of the identity.
    """

    size: Size | None = Field(None, description="Rung of the ladder that fills the fields not given; default `xxs`.")
    d_model: Int = Field(ge=2, description="Width, D. Default: from `size`.")
    num_layers: Int = Field(ge=1, description="Blocks, L. Default: from `size`.")
    num_heads: Int = Field(ge=1, description="Attention heads, H. Default: from `size`.")
    d_head: Int = Field(ge=2, multiple_of=2, description="Width of a head, K; even, for rotary. Default: from `size`.")
    tied_output: bool = Field(True, description="Whether the output projection is the embedding table.")
    init_scale: Float = Field(1.0, gt=0, description="s of σ = sqrt(s/fan_in) for every matrix but the router's.")
    ffn: FFNSpec = Field(description="The feed-forward layer: `kind: dense` (default) or `kind: sparse`.")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_size(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        shape = SIZES.get(values.get("size") or "xxs")
        if shape is None:  # reported by the field's own check; any rung serves to check the rest
            shape = SIZES["xxs"]
        filled = shape._asdict() | values
        ffn = values.get("ffn", {"kind": "dense"})
        if isinstance(ffn, dict) and "d_ff" not in ffn and isinstance(filled["d_model"], int):
            ffn = ffn | {"d_ff": default_d_ff(filled["d_model"], activation=ffn.get("activation", "relu"))}
        return filled | {"ffn": ffn}

    @property
    def size_name(self) -> str:
        """The ladder's name for this shape, or ``d<width>-L<depth>`` where there is none."""
        shape = (self.d_model, self.num_layers, self.num_heads, self.d_head)
        return next((name for name, rung in SIZES.items() if rung == shape), f"d{self.d_model}-L{self.num_layers}")

    @property
    def sparse_layers(self) -> tuple[int, ...]:
        """Indices of the sparse blocks, spread evenly and ending with the last: 1, 3, 5, ... at a frequency of 0.5."""
        if isinstance(self.ffn, DenseFFNSpec):
            return ()
        frequency = Fraction(repr(self.ffn.switch_layer_frequency))
        return tuple(i for i in range(self.num_layers) if (i + 1) * frequency // 1 > i * frequency // 1)

    @model_validator(mode="after")
    def _check_sparse_layers(self) -> Self:
        if isinstance(self.ffn, SparseFFNSpec) and not self.sparse_layers:
            raise ValueError(
                f"switch_layer_frequency {self.ffn.switch_layer_frequency} makes none of {self.num_layers} layers sparse; "
                f"the least that does is {1 / self.num_layers:.4g}"
            )
        return self


class AnnealPoint(NamedTuple):
    """A cooldown that branches off the trunk."""

    fraction: float
    """The point's place a along the run's tokens."""
    branch_step: int
    """Steps of the trunk before the cooldown."""
    end_step: int
    """Steps at the annealed point, cooldown included."""


class TrainSpec(_Spec):
    """AdamW with warm-up, a constant trunk, and a cooldown branch for every annealed point."""

    tokens: Int = Field(1_000_000, ge=1, description="Training tokens D at the last annealed point; whole batches.")
    batch_tokens: Int = Field(4096, ge=2, description="Tokens per step, T = B·S; a multiple of seq_len.")
    learning_rate: Float = Field(5e-3, gt=0, description="Learning rate of the trunk.")
    warmup_fraction: Float = Field(0.02, ge=0, lt=0.8, description="Share of the tokens with a rising learning rate.")
    anneal_at: tuple[Float, ...] = Field(
        (0.25, 0.5, 1.0), description="Fractions of the tokens with an annealed point; ascending, the last is 1."
    )
    betas: tuple[Float, Float] = Field((0.9, 0.95), description="AdamW's decay rates.")
    adam_epsilon: Float = Field(1e-8, gt=0, description="AdamW's ε.")
    weight_decay: Float = Field(0.1, ge=0, description="Decoupled weight decay, on matrices only.")
    gradient_clip: Float = Field(1.0, gt=0, description="Largest global gradient norm.")
    eval_points: Int = Field(10, ge=1, description="Evaluations along the tokens, beside those at annealed points.")
    eval_tokens: Int = Field(65536, ge=2, description="Held-out tokens of each of these; annealed points take all.")

    @field_validator("betas")
    @classmethod
    def _check_betas(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"needs two numbers in [0, 1), got {list(betas)}")
        return betas

    @field_validator("anneal_at")
    @classmethod
    def _check_anneal_at(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        ascending = all(a < b for a, b in zip(fractions, fractions[1:], strict=False))
        if not fractions or not ascending or fractions[0] <= 0 or fractions[-1] != 1.0:
            raise ValueError(f"needs ascending fractions in (0, 1] that end with 1.0, got {list(fractions)}")
        return fractions

    @property
    def num_steps(self) -> int:
        """Steps up to the last annealed point: the tokens rounded up to whole batches."""
        return math.ceil(self.tokens / self.batch_tokens)

    @property
    def anneal_points(self) -> tuple[AnnealPoint, ...]:
        """The annealed points, in order; a cooldown takes a fifth of the steps before its end, and at least one."""
        points = []
        for fraction in self.anneal_at:
            end = math.ceil(Fraction(repr(fraction)) * self.num_steps)
            points.append(AnnealPoint(fraction, min(math.floor(end * (1 - COOLDOWN_FRACTION)), end - 1), end))
        return tuple(points)

    @property
    def trained_steps(self) -> int:
        """All steps that are computed: the trunk up to its last branch, and every cooldown."""
        points = self.anneal_points
        return points[-1].branch_step + sum(point.end_step - point.branch_step for point in points)

    @model_validator(mode="after")
    def _check_annealed_points_differ(self) -> Self:
        ends = [point.end_step for point in self.anneal_points]
        if len(set(ends)) < len(ends):
            raise ValueError(
                f"tokens {self.tokens} are only {self.num_steps} steps of batch_tokens {self.batch_tokens}: "
                f"too few to tell the annealed points {list(self.anneal_at)} apart"
            )
        return self


class RunSpec(_Spec):
    """One run, resolved: everything that decides its result."""

    data: DataSpec
    model: ModelSpec
    train: TrainSpec
    seed: Int = Field(0, ge=0, lt=2**31)
    vocab_size: Int = Field(ge=2)
    data_fingerprint: str = Field(min_length=12)

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        batch, seq_len, ffn = self.train.batch_tokens, self.data.seq_len, self.model.ffn
        if batch % seq_len:
            raise ValueError(f"train.batch_tokens {batch} is not a multiple of data.seq_len {seq_len}")
        group = ffn.routing_group_tokens if isinstance(ffn, SparseFFNSpec) else None
        if group is not None and (batch % group or group % seq_len):
            raise ValueError(
                f"model.ffn.routing_group_tokens {group} must be a multiple of data.seq_len {seq_len} "
                f"that divides train.batch_tokens {batch}"
            )
        return self

    @property
    def run_id(self) -> str:
        """Identity of the run: 12 hex digits."""
        return _digest(self, exclude_seed=False)

    @property
    def config_id(self) -> str:
        """Identity of the configuration: as ``run_id``, without the seed."""
        return _digest(self, exclude_seed=True)

    @property
    def routing_group_tokens(self) -> int:
        """Tokens that are routed together in training."""
        group = self.model.ffn.routing_group_tokens if isinstance(self.model.ffn, SparseFFNSpec) else None
        return group or self.train.batch_tokens


@dataclass(frozen=True, kw_only=True)
class ExecutionSpec:
    """How a run is executed: recorded, never part of its identity."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it runs; ``auto``: a GPU if there is one."""
    threads: int = 1
    """CPU threads of the run."""
    cores: tuple[int, ...] = ()
    """Cores the process is pinned to; empty: not pinned."""
    checkpoint: str | None = None
    """File that takes the final weights (safetensors); None: they are not kept."""


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

    >>> expert_capacity(4096, num_experts=8, capacity_factor=1.25), expert_capacity(10, num_experts=4, capacity_factor=1.1)
    (640, 3)
    """
    for name, value in (("num_tokens", num_tokens), ("num_experts", num_experts), ("top_k", top_k)):
        if value < 1:
            raise SpecError(f"{name} must be at least 1, got {value}")
    if capacity_factor is None:
        return num_tokens
    if not (math.isfinite(capacity_factor) and capacity_factor > 0):
        raise SpecError(f"capacity_factor must be a finite number above 0, got {capacity_factor}")
    return math.ceil(Fraction(repr(float(capacity_factor))) * top_k * num_tokens / num_experts)


def _digest(spec: RunSpec, *, exclude_seed: bool) -> str:
    excluded: dict[str, Any] = {"data": {"path"}, "model": {"size"}, "seed": True}
    content = spec.model_dump(mode="json", exclude_defaults=True, exclude=excluded) | {"schema": SCHEMA}
    if not exclude_seed:
        content["seed"] = spec.seed
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
