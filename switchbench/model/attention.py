"""Causal self-attention with QK-norm and rotary positions.

Axes: B sequences, S positions, D width, H heads, K width of a head.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from switchbench.model.norm import rms_norm

ROTARY_BASE = 10_000.0


class Attention(nn.Module):
    """Causal multi-head attention; queries and keys are normalized per head and rotated by their position.

    Args:
        d_model: Width, D.
        num_heads: Heads, H.
        d_head: Width of a head, K.
    """

    def __init__(self, *, d_model: int, num_heads: int, d_head: int) -> None:
        super().__init__()
        self.num_heads, self.d_head = num_heads, d_head
        self.w_qkv = nn.Parameter(torch.empty(d_model, 3 * num_heads * d_head))
        self.w_out = nn.Parameter(torch.empty(num_heads * d_head, d_model))
        self.query_scale = nn.Parameter(torch.ones(d_head))
        self.key_scale = nn.Parameter(torch.ones(d_head))

    def forward(self, x_BSD: Tensor, rotation_SP: Tensor) -> Tensor:
        """Mix the positions.

        Args:
            x_BSD: Normalized input.
            rotation_SP: Rotation of each position and pair, from ``rotation``.
        """
        batch, positions, _ = x_BSD.shape
        qkv_BS3HK = (x_BSD @ self.w_qkv.to(x_BSD.dtype)).view(batch, positions, 3, self.num_heads, self.d_head)
        query_BSHK, key_BSHK, value_BSHK = qkv_BS3HK.unbind(dim=2)
        # On a CPU the attention map is float32 at least: in bfloat16 its backward pass takes three times as long there.
        is_cpu = x_BSD.device.type == "cpu"
        map_dtype = torch.promote_types(x_BSD.dtype, torch.float32) if is_cpu else x_BSD.dtype
        query_BSHK = rotate(rms_norm(query_BSHK, self.query_scale, dtype=map_dtype), rotation_SP)
        key_BSHK = rotate(rms_norm(key_BSHK, self.key_scale, dtype=map_dtype), rotation_SP)
        value_BSHK = value_BSHK.to(map_dtype)
        mixed_BHSK = F.scaled_dot_product_attention(
            query_BSHK.transpose(1, 2), key_BSHK.transpose(1, 2), value_BSHK.transpose(1, 2), is_causal=True
        )
        return mixed_BHSK.transpose(1, 2).flatten(2).to(x_BSD.dtype) @ self.w_out.to(x_BSD.dtype)


def rotation(num_positions: int, *, d_head: int, device: torch.device) -> Tensor:
    """Rotations of rotary positions: position s turns pair i by the angle s · base^(-2i/K).

    Args:
        num_positions: Positions, S.
        d_head: Width of a head, K; even.
        device: Where the table lives.

    Returns:
        rotation_SP, complex64: one unit complex number per position and pair, P = K/2.

    Source:
        Su et al. 2021 (RoFormer, arXiv:2104.09864), pairs (2i, 2i+1) as there.
    """
    frequency_P = ROTARY_BASE ** (-torch.arange(0, d_head, 2, device=device, dtype=torch.float64) / d_head)
    angle_SP = torch.arange(num_positions, device=device, dtype=torch.float64)[:, None] * frequency_P
    return torch.polar(torch.ones_like(angle_SP), angle_SP).to(torch.complex64)


def rotate(x_BSHK: Tensor, rotation_SP: Tensor) -> Tensor:
    """Rotate each pair (2i, 2i+1) of every head by the angle of its position.

    Args:
        x_BSHK: Queries or keys.
        rotation_SP: From ``rotation``.
    """
    return _Rotate.apply(x_BSHK, rotation_SP)  # type: ignore[no-any-return, no-untyped-call]


class _Rotate(torch.autograd.Function):
    """A rotation by complex multiplication; its gradient is the rotation back."""

    @staticmethod
    def forward(ctx: Any, x_BSHK: Tensor, rotation_SP: Tensor) -> Tensor:
        ctx.save_for_backward(rotation_SP)
        return _turn(x_BSHK, rotation_SP)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BSHK: Tensor) -> tuple[Tensor, None]:
        (rotation_SP,) = ctx.saved_tensors
        return _turn(grad_BSHK, rotation_SP.conj_physical()), None


def _turn(x_BSHK: Tensor, rotation_SP: Tensor) -> Tensor:
    """Multiply in float32 at least: there are no complex numbers of lower precision."""
    real = x_BSHK.to(torch.promote_types(x_BSHK.dtype, torch.float32)).contiguous()
    pairs_BSHP = torch.view_as_complex(real.view(*real.shape[:-1], -1, 2))
    return torch.view_as_real(pairs_BSHP * rotation_SP.unsqueeze(1)).flatten(-2).to(x_BSHK.dtype)
