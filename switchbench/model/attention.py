"""Causal self-attention with QK-norm and rotary positions.

Axes: B sequences, S positions, D width, H heads, K width of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPSILON = 1e-6
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

    def forward(self, x_BSD: Tensor, rotation_S2K: Tensor) -> Tensor:
        """Mix the positions.

        Args:
            x_BSD: Normalized input.
            rotation_S2K: Cosines and sines, from ``rotation``.
        """
        batch, positions, _ = x_BSD.shape
        qkv_BS3HK = (x_BSD @ self.w_qkv).view(batch, positions, 3, self.num_heads, self.d_head)
        query_BSHK, key_BSHK, value_BSHK = qkv_BS3HK.unbind(dim=2)
        query_BSHK = rotate(F.rms_norm(query_BSHK, (self.d_head,), self.query_scale, NORM_EPSILON), rotation_S2K)
        key_BSHK = rotate(F.rms_norm(key_BSHK, (self.d_head,), self.key_scale, NORM_EPSILON), rotation_S2K)
        mixed_BHSK = F.scaled_dot_product_attention(
            query_BSHK.transpose(1, 2), key_BSHK.transpose(1, 2), value_BSHK.transpose(1, 2), is_causal=True
        )
        return mixed_BHSK.transpose(1, 2).flatten(2) @ self.w_out


def rotation(num_positions: int, *, d_head: int, device: torch.device) -> Tensor:
    """Cosines and sines of rotary positions: the angle of position s in pair i is s · base^(-2i/K).

    Args:
        num_positions: Positions, S.
        d_head: Width of a head, K; even.
        device: Where the table lives.

    Returns:
        rotation_S2K, float32: cosines and (signed) sines, each laid out for both halves of a head.

    Source:
        Su et al. 2021 (RoFormer, arXiv:2104.09864), with the pairs (i, i + K/2).
    """
    frequency = ROTARY_BASE ** (-torch.arange(0, d_head, 2, device=device, dtype=torch.float64) / d_head)
    angle = torch.arange(num_positions, device=device, dtype=torch.float64)[:, None] * frequency
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack((torch.cat((cosine, cosine), dim=1), torch.cat((-sine, sine), dim=1)), dim=1).float()


def rotate(x_BSHK: Tensor, rotation_S2K: Tensor) -> Tensor:
    """Rotate each pair (i, i + K/2) of every head by the angle of its position."""
    cosine_S1K, sine_S1K = rotation_S2K[:, 0, None].to(x_BSHK.dtype), rotation_S2K[:, 1, None].to(x_BSHK.dtype)
    return x_BSHK * cosine_S1K + x_BSHK.roll(x_BSHK.shape[-1] // 2, dims=-1) * sine_S1K
