"""Choosing the next token from a model's prediction: the most probable one, or one at random from the most probable.

Axes: V vocabulary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from switchbench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen."""

    temperature: float = 1.0
    """What logits are divided by; 0: always the most probable token."""
    top_p: float = 1.0
    """Only the fewest tokens that have this probability together; 1: all."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"--temperature {self.temperature} is out of range; give 0 (most probable token) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"--top-p {self.top_p} is out of range; give a probability above 0, at most 1")


def choose_token(logits_V: Tensor, *, sampling: Sampling, random: torch.Generator) -> int:
    """Choose a token.

    Args:
        logits_V: The prediction.
        sampling: How.
        random: Source of chance, on the CPU; one number is drawn for a token, none at temperature 0.

    Source:
        Holtzman et al. 2020 (arXiv:1904.09751): nucleus sampling, after the temperature; of equally probable tokens the
        one with the lower id comes first.
    """
    logits_V = logits_V.to(device="cpu", dtype=torch.float64)
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    # The largest logit is taken off first, or a small temperature would overflow.
    probs_V = ((logits_V - logits_V.max()) / sampling.temperature).softmax(dim=-1)
    sorted_V, token_V = probs_V.sort(descending=True, stable=True)
    cumulative_V = sorted_V.cumsum(dim=-1)
    num_kept = min(int((cumulative_V < sampling.top_p).sum()) + 1, len(token_V))
    chance = float(torch.rand((), generator=random, dtype=torch.float64)) * float(cumulative_V[num_kept - 1])
    place = int(torch.searchsorted(cumulative_V[:num_kept], chance, right=True))
    return int(token_V[min(place, num_kept - 1)])
