"""RMSNorm, with a backward pass of its own on the CPU, where the composite one spends most of a small model's time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

NORM_EPSILON = 1e-6


def rms_norm(x: Tensor, scale_D: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
    """Scale to unit root mean square along the last axis: x / sqrt(mean(x²) + ε) · scale.

    Args:
        x: Any shape that ends in D.
        scale_D: Learned scale.
        dtype: Of the result; None: that of x. Statistics are float32 at least, whatever x and the result are.

    Source:
        Zhang and Sennrich 2019 (arXiv:1910.07467). ε = 1e-6.
    """
    if x.device.type == "cpu":
        return _RMSNorm.apply(x, scale_D, dtype or x.dtype)  # type: ignore[no-any-return, no-untyped-call]
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return F.rms_norm(wide, (x.shape[-1],), scale_D.to(wide.dtype), NORM_EPSILON).to(dtype or x.dtype)


class _RMSNorm(torch.autograd.Function):
    """With x̂ = x·r, r = 1/sqrt(mean(x²) + ε), g = ∂L/∂y: ∂L/∂x = r·(g·s - x̂·mean(g·s·x̂)), ∂L/∂s = Σ g·x̂."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale_D: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = x.dtype
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        scale_D = scale_D.to(x.dtype)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse_rms = norm.square_().div_(x.shape[-1]).add_(NORM_EPSILON).rsqrt_()
        normed: Tensor = x * inverse_rms
        ctx.save_for_backward(normed, inverse_rms, scale_D)
        return (normed * scale_D).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        normed, inverse_rms, scale_D = ctx.saved_tensors
        grad = grad.to(normed.dtype)
        product = grad * normed
        grad_scale_D = product.flatten(0, -2).sum(dim=0)
        mean = (product @ scale_D).div_(-normed.shape[-1]).unsqueeze(-1)
        grad_x: Tensor = torch.addcmul(grad * scale_D, normed, mean).mul_(inverse_rms)
        return grad_x.to(ctx.dtype), grad_scale_D, None
