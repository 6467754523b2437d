"""Evaluation on held-out text: dropless, deterministic, and without auxiliary terms; with limited experts beside it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from switchbench.cost.stages import LOSS_SLICES
from switchbench.data.batches import Batch, held_out_batches
from switchbench.model.ffn import DenseFFN, SwitchFFN
from switchbench.model.router import Routing
from switchbench.model.transformer import Transformer
from switchbench.spec import RunSpec, SparseFFNSpec
from switchbench.train.specialization import Tally


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Held-out quality."""

    nll: float | None
    """Nats per token, dropless; None where experts choose tokens: there is no routing without a limit."""
    nll_capacity: float | None
    """The same with experts limited by the evaluation's capacity factor; None where there is no limit."""
    num_tokens: int
    """Tokens scored."""


def evaluate(
    model: Transformer,
    token_ids: np.ndarray,
    *,
    spec: RunSpec,
    max_tokens: int | None,
    batch_tokens: int | None = None,
    tally: Tally | None = None,
) -> Evaluation:
    """Score held-out text.

    Args:
        model: The model; not changed.
        token_ids: Held-out tokens.
        spec: The run.
        max_tokens: Score at most so many tokens from the start; None: all.
        batch_tokens: Tokens at a time, whole routing groups of a sparse model; None: the run's batch.
        tally: Counts which experts take which tokens, dropless where that has a meaning.
    """
    ffn = spec.model.ffn
    limit = ffn.evaluation_capacity_factor if isinstance(ffn, SparseFFNSpec) else None
    batches = partial(
        held_out_batches,
        token_ids,
        seq_len=spec.data.seq_len,
        batch_tokens=batch_tokens or spec.train.batch_tokens,
        max_tokens=max_tokens,
        window_tokens=spec.data.window_tokens,
    )
    nll = nll_capacity = None
    num_tokens = 0
    if not isinstance(ffn, SparseFFNSpec) or ffn.is_causal:
        nll, num_tokens = _score(model, batches(), spec=spec, capacity_factor=None, tally=tally)
        tally = None
    if limit is not None:
        nll_capacity, num_tokens = _score(model, batches(), spec=spec, capacity_factor=limit, tally=tally)
    return Evaluation(nll=nll, nll_capacity=nll_capacity, num_tokens=num_tokens)


def score_dropless(
    model: Transformer, batches: Iterable[Batch], *, spec: RunSpec, batch_tokens: int | None = None
) -> float | None:
    """Score batches as ``evaluate`` scores held-out text.

    Args:
        model: The model; not changed.
        batches: At least one.
        spec: The run.
        batch_tokens: Tokens at a time, as for ``evaluate``; None: the batches as they are.

    Returns:
        Nats per token; None where experts choose tokens.
    """
    ffn = spec.model.ffn
    if isinstance(ffn, SparseFFNSpec) and not ffn.is_causal:
        return None
    sequences = (batch_tokens or spec.train.batch_tokens) // spec.data.seq_len
    parts = (
        Batch(inputs_BS=batch.inputs_BS[rows], targets_BS=batch.targets_BS[rows])
        for batch in batches
        for first in range(0, len(batch.inputs_BS), sequences)
        for rows in (slice(first, first + sequences),)
    )
    return _score(model, parts, spec=spec, capacity_factor=None)[0]


@torch.no_grad()
def ffn_rms_ratio(model: Transformer, token_BS: Tensor) -> float | None:
    """Rms of the routed experts' output over that of a dense layer (expert 0) on the same input, mean over layers.

    For a fresh model this is what the gate takes from the feed-forward path. Dropless where tokens choose; no noise.

    Args:
        model: The model; not changed.
        token_BS: Tokens to run it on: the first of its routing groups, which is as much as always fits a device.

    Returns:
        None for a dense model.
    """
    ffn = model.spec.ffn
    if not isinstance(ffn, SparseFFNSpec):
        return None
    ratios: list[float] = []

    def compare(layer: SwitchFFN, args: tuple[Tensor, ...], output: tuple[Tensor, Routing]) -> None:
        spec = layer.spec
        dense = DenseFFN(d_model=args[0].shape[-1], d_ff=spec.d_ff, activation=spec.activation).to(args[0].device)
        dense.w_in.copy_(layer.w_in[0])
        dense.w_out.copy_(layer.w_out[0])
        if dense.w_gate is not None and layer.w_gate is not None:
            dense.w_gate.copy_(layer.w_gate[0])
        routed_TD = output[0] if layer.shared is None else output[0] - layer.shared(args[0])
        ratios.append(float(routed_TD.square().mean().sqrt() / dense(args[0]).square().mean().sqrt()))

    hooks = [module.register_forward_hook(compare) for module in model.modules() if isinstance(module, SwitchFFN)]
    try:
        sequences = (ffn.routing_group_tokens or token_BS.numel()) // token_BS.shape[1]
        model(token_BS[:sequences], capacity_factor=None if ffn.is_causal else ffn.capacity_factor)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(ratios) / len(ratios) if ratios else None


@torch.no_grad()
def _score(
    model: Transformer,
    batches: Iterable[Batch],
    *,
    spec: RunSpec,
    capacity_factor: float | None,
    tally: Tally | None = None,
) -> tuple[float, int]:
    """Mean nll, summed in float64 over batches, and the number of tokens."""
    device = model.embedding.device
    total, num_tokens = torch.zeros((), dtype=torch.float64, device=device), 0
    for batch in batches:
        for part in _whole_groups_and_rest(batch, group_tokens=spec.routing_group_tokens):
            count = part.targets_BS.numel()
            group = min(spec.routing_group_tokens, count)
            inputs_BS = part.inputs_BS.to(device)
            output = model(inputs_BS, capacity_factor=capacity_factor, group_tokens=group)
            if tally is not None:
                tally.add(output.routings, token_T=inputs_BS.flatten())
            total += _sum_of_nll(output.logits_BSV.flatten(0, 1), part.targets_BS.to(device).flatten())
            num_tokens += count
            del output  # its logits are not to stay while those of the next part are made
    return float(total) / num_tokens, num_tokens


def _sum_of_nll(logits_TV: Tensor, target_T: Tensor) -> Tensor:
    """Sum of the targets' nll, in float64; in slices, since beside all logits there is no room for a second of them."""
    size = math.ceil(len(target_T) / LOSS_SLICES)
    slices = zip(torch.split(logits_TV, size), torch.split(target_T, size), strict=True)
    sums = [F.cross_entropy(rows_TV, targets, reduction="sum").double() for rows_TV, targets in slices]
    return torch.stack(sums).sum()


def _whole_groups_and_rest(batch: Batch, *, group_tokens: int) -> list[Batch]:
    """Part a last batch that is no whole number of routing groups: what is left over is a group of its own."""
    num_sequences, seq_len = batch.targets_BS.shape
    whole = num_sequences * seq_len // group_tokens * group_tokens // seq_len
    if whole in (0, num_sequences):
        return [batch]
    return [
        Batch(inputs_BS=batch.inputs_BS[rows], targets_BS=batch.targets_BS[rows])
        for rows in (slice(None, whole), slice(whole, None))
    ]
