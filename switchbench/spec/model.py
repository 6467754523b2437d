"""The model: a decoder-only Transformer and the ladder of its sizes."""

from fractions import Fraction
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from switchbench.spec.ffn import DenseFFNSpec, FFNSpec, SparseFFNSpec, default_d_ff
from switchbench.spec.fields import Float, Int, Spec

Size = Literal["xxs", "xs", "s", "m", "l"]


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


class ModelSpec(Spec):
    """A decoder-only pre-norm Transformer: RMSNorm, QK-norm, rotary positions, no biases.

    ``size`` fills the fields that are not given; it is a label, not part of the identity.
    """

    size: Size | None = Field(None, description="Rung of the ladder that fills the fields not given; default `xxs`.")
    d_model: Int = Field(ge=2, description="Width, D. Default: from `size`.")
    num_layers: Int = Field(ge=1, le=4096, description="Blocks, L. Default: from `size`.")
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
                f"switch_layer_frequency {self.ffn.switch_layer_frequency} makes no layer of num_layers "
                f"{self.num_layers} sparse; the least that does is {1 / self.num_layers:.4g}"
            )
        return self
