"""What the specifications have in common: frozen, no unknown fields, and numbers that are numbers."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _reject_text(value: Any) -> Any:
    if isinstance(value, (str, bool)):
        raise ValueError(f"needs a number, not {type(value).__name__} {value!r}")
    return value


Int = Annotated[int, BeforeValidator(_reject_text)]
Float = Annotated[float, BeforeValidator(_reject_text)]


class Spec(BaseModel):
    """Base of the specifications."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
