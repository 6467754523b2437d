"""A model run on text that grows: keys and values of earlier positions are kept, so that a token costs one position.

Axes: S new positions, J positions that are looked at, D width, H heads, K width of a head, P = K/2 pairs, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from switchbench.model.attention import Attention, rotate, rotation
from switchbench.model.ffn import SwitchFFN
from switchbench.model.norm import rms_norm
from switchbench.model.router import Routing
from switchbench.model.transformer import Block, Transformer


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What a model makes of new positions."""

    logits_SV: Tensor
    """Logits of the token after each of them."""
    routings: tuple[Routing, ...]
    """What the router of each sparse layer decided about them, from the bottom up; empty for a dense model."""


class Decoder:
    """A model that reads on from where it stands, dropless, as in evaluation.

    Every position sees itself and the ``window - 1`` before it. Up to ``window`` positions that is what the model does
    with the whole text at once; beyond, the text slides through: rotary positions are relative, so no distance is
    larger than those that the model was trained on, and the memory does not grow.

    Args:
        model: The model, in which tokens choose their experts.
        window: Positions that a position sees, itself included: those of a training sequence.
        num_positions: Most positions that will ever be read.
    """

    def __init__(self, model: Transformer, *, window: int, num_positions: int) -> None:
        spec, device = model.spec, model.embedding.device
        self.window = window
        self.position = 0
        self._model = model
        self._rotation_SP = rotation(num_positions, d_head=spec.d_head, device=device)
        shape = (spec.num_layers, 2, spec.num_heads, 2 * window, spec.d_head)
        dtype = torch.bfloat16 if model.precision == "bfloat16" and device.type != "cpu" else model.embedding.dtype
        self._kept_LxHJK = torch.zeros(shape, device=device, dtype=dtype)  # x: keys, values
        self._num_kept = 0

    @torch.no_grad()
    def read(self, tokens: Sequence[int]) -> Extension:
        """Read tokens, and predict the next one after each of them.

        Args:
            tokens: At least one, at most ``window``.
        """
        model, device = self._model, self._model.embedding.device
        assert 0 < len(tokens) <= self.window
        token_S = torch.tensor(tokens, dtype=torch.int64, device=device)
        dtype = torch.bfloat16 if model.precision == "bfloat16" else None
        rotation_SP = self._rotation_SP[self.position : self.position + len(tokens)]
        first = self._make_room(len(tokens))
        seen_SJ = self._seen(len(tokens), first=first)
        x_SD = F.embedding(token_S, model.embedding) * model.spec.d_model**0.5
        routings = []
        for kept_xHJK, block in zip(self._kept_LxHJK, model.blocks, strict=True):
            assert isinstance(block, Block)
            normed_SD = rms_norm(x_SD, block.attention_norm_scale, dtype=dtype)
            places = slice(first, self._num_kept)
            x_SD = x_SD + _attend(block.attention, normed_SD, rotation_SP, kept_xHJK[:, :, places], seen_SJ)
            normed_SD = rms_norm(x_SD, block.ffn_norm_scale, dtype=dtype)
            if isinstance(block.ffn, SwitchFFN):
                y_SD, routing = block.ffn(normed_SD, token_T=token_S, group_tokens=len(tokens), capacity_factor=None)
                routings.append(routing)
            else:
                y_SD = block.ffn(normed_SD)
            x_SD = x_SD + y_SD
        self.position += len(tokens)
        x_SD = rms_norm(x_SD, model.final_norm_scale, dtype=dtype)
        w_output_DV = model.embedding.T if model.output is None else model.output
        logits_SV = (x_SD @ w_output_DV.to(x_SD.dtype)).to(model.embedding.dtype)
        return Extension(logits_SV=logits_SV, routings=tuple(routings))

    def _make_room(self, num_tokens: int) -> int:
        """Count new positions in; where there is no room, move those that are still seen to the front.

        Returns:
            The place of the first position that is seen.
        """
        if self._num_kept + num_tokens > self._kept_LxHJK.shape[3]:
            seen = self._kept_LxHJK[:, :, :, self._num_kept - self.window + 1 : self._num_kept].clone()
            self._kept_LxHJK[:, :, :, : self.window - 1] = seen
            self._num_kept = self.window - 1
        first = max(0, self._num_kept - self.window + 1)
        self._num_kept += num_tokens
        return first

    def _seen(self, num_tokens: int, *, first: int) -> Tensor:
        """Which of the places from ``first`` on each new position sees."""
        device = self._kept_LxHJK.device
        place_J = torch.arange(first, self._num_kept, device=device)
        place_S1 = torch.arange(self._num_kept - num_tokens, self._num_kept, device=device).unsqueeze(-1)
        return (place_J <= place_S1) & (place_J > place_S1 - self.window)


def _attend(attention: Attention, x_SD: Tensor, rotation_SP: Tensor, kept_xHJK: Tensor, seen_SJ: Tensor) -> Tensor:
    """Mix new positions with what they see, as ``Attention`` does; their keys and values are written at the end."""
    num_tokens = x_SD.shape[0]
    qkv_S3HK = (x_SD @ attention.w_qkv.to(x_SD.dtype)).view(num_tokens, 3, attention.num_heads, attention.d_head)
    query_SHK, key_SHK, value_SHK = qkv_S3HK.unbind(dim=1)
    map_dtype = kept_xHJK.dtype
    query_SHK, key_SHK = (
        rotate(rms_norm(each_SHK, scale, dtype=map_dtype).unsqueeze(0), rotation_SP).squeeze(0)
        for each_SHK, scale in ((query_SHK, attention.query_scale), (key_SHK, attention.key_scale))
    )
    kept_xHJK[0, :, -num_tokens:] = key_SHK.transpose(0, 1)
    kept_xHJK[1, :, -num_tokens:] = value_SHK.transpose(0, 1)
    mixed_HSK = F.scaled_dot_product_attention(query_SHK.transpose(0, 1), kept_xHJK[0], kept_xHJK[1], attn_mask=seen_SJ)
    return mixed_HSK.transpose(0, 1).flatten(1).to(x_SD.dtype) @ attention.w_out.to(x_SD.dtype)
