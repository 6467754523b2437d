"""What the specifications have in common: frozen, no unknown fields, and numbers that are numbers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _reject_text(value: Any) -> Any:
    if isinstance(value, (str, bool)):
        raise ValueError(f"needs a number, not {type(value).__name__} {value!r}")
    return value


Int = Annotated[int, BeforeValidator(_reject_text)]
Float = Annotated[float, BeforeValidator(_reject_text)]
Precision = Literal["float32", "bfloat16"]


class Spec(BaseModel):
    """Base of the specifications."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
