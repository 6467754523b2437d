"""Which backends can compute the experts of a model; a rule of shapes, known before PyTorch is."""

from switchbench.spec.ffn import SparseFFNSpec
from switchbench.spec.fields import Precision
from switchbench.spec.run import Backend, RunSpec

GROUPED_ALIGNMENT_BYTES = 16
"""Rows of a grouped matmul must be a multiple of this long."""
_ITEM_BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2}


def can_group(*, d_model: int, d_ff: int, item_bytes: int) -> bool:
    """Say whether PyTorch's grouped matmul takes experts of a shape, on any device.

    Args:
        d_model: Width, D.
        d_ff: Hidden width of an expert, F.
        item_bytes: Bytes of a number in the precision of the matmuls.

    >>> can_group(d_model=32, d_ff=128, item_bytes=4), can_group(d_model=30, d_ff=120, item_bytes=4)
    (True, False)
    """
    return all(width * item_bytes % GROUPED_ALIGNMENT_BYTES == 0 for width in (d_model, d_ff))


def possible_backends(spec: RunSpec) -> tuple[Backend, ...]:
    """Name the backends that can compute a run; all of them for a dense model, which needs none.

    Args:
        spec: The run.
    """
    ffn, model = spec.model.ffn, spec.model
    item_bytes = _ITEM_BYTES[spec.train.precision]
    if not isinstance(ffn, SparseFFNSpec) or can_group(d_model=model.d_model, d_ff=ffn.d_ff, item_bytes=item_bytes):
        return ("loop", "grouped_mm", "padded")
    return ("loop", "padded")
