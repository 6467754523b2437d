"""The optimizer step and the learning-rate schedule; the same for a run and its twin, and for the timing of both."""

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from switchbench.cost.stages import LOSS_SLICES
from switchbench.data.batches import Batch
from switchbench.model.router import Routing
from switchbench.model.transformer import ModelOutput, Transformer, build_model
from switchbench.spec import AnnealPoint, Dispatch, RunSpec, SparseFFNSpec, TrainSpec


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """What a step changes: everything that must be saved to branch off or to continue."""

    spec: RunSpec
    """The run."""
    device: torch.device
    """Where the model lives."""
    model: Transformer
    """The model."""
    optimizer: torch.optim.AdamW
    """AdamW; weight decay on matrices only."""
    noise: torch.Generator
    """Source of router jitter and expert dropout."""


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """What a step saw; tensors are detached and may still be under way on the device."""

    nll: Tensor
    """Training nll of the batch, without auxiliary terms; scalar."""
    gradient_norm: Tensor
    """Global gradient norm before clipping; scalar."""
    routings: tuple[Routing, ...]
    """What each sparse layer's router decided: from the bottom up, micro-batch after micro-batch."""


def start_training(spec: RunSpec, *, device: torch.device, dispatch: Dispatch = "auto") -> TrainState:
    """Build and initialize model and optimizer.

    Args:
        spec: The run.
        device: Where it is to live.
        dispatch: How experts are computed.
    """
    model = build_model(spec, dispatch=dispatch).to(device)
    train = spec.train
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    scales = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": train.weight_decay}, {"params": scales, "weight_decay": 0.0}],
        lr=train.learning_rate,
        betas=train.betas,
        eps=train.adam_epsilon,
        fused=True,
    )
    # Here, as its first step would make them: made there, they would settle in the places of that step's activations.
    for parameter in [*matrices, *scales]:
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    noise = torch.Generator(device).manual_seed(spec.random_seed)
    return TrainState(spec=spec, device=device, model=model, optimizer=optimizer, noise=noise)


def learning_rate_at(train: TrainSpec, *, step: int, point: AnnealPoint | None) -> float:
    """Learning rate of a step: linear warm-up, constant trunk, and 1 - sqrt(progress) in a cooldown.

    Args:
        train: The schedule.
        step: Steps already taken.
        point: The annealed point a cooldown leads to; None on the trunk.

    Source:
        Hägele et al. 2024 (arXiv:2405.18392), with the 1-sqrt cooldown that they recommend; 0 is reached exactly at the
        annealed point, that is, by the step after the last.
    """
    warmup_steps = math.ceil(train.warmup_fraction * train.num_steps)
    rate = train.learning_rate * min(1.0, (step + 1) / max(warmup_steps, 1))
    if point is not None:
        rate *= 1 - math.sqrt((step - point.branch_step) / (point.end_step - point.branch_step))
    return rate


def take_step(
    state: TrainState,
    batch: Batch,
    *,
    learning_rate: float,
    micro_batch_tokens: int | None = None,
    part: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
) -> StepOutcome:
    """Take one optimizer step on nll + Σ_layers (aux_loss_weight · aux_loss + router_z_loss_weight · z_loss).

    In micro-batches the gradients are added up. These are whole routing groups, and all terms are means over groups or
    tokens, so the step is the same but for rounding (and for what jitter and dropout draw).

    Args:
        state: Changed in place.
        batch: Training batch, on the CPU.
        learning_rate: Learning rate of this step.
        micro_batch_tokens: Tokens of a micro-batch, from ``smaller_micro_batch``; None: the whole batch at once.
        part: Wraps ``forward`` and ``backward`` of each micro-batch, and ``optimizer``, so that each can be timed.
    """
    num_micro_batches = 1 if micro_batch_tokens is None else state.spec.train.batch_tokens // micro_batch_tokens
    nlls: list[Tensor] = []
    routings: list[Routing] = []
    for micro_batch in _micro_batches(batch, num_micro_batches):
        with part("forward"):
            objective, nll, decisions = _forward(state, micro_batch)
        with part("backward"):
            (objective / num_micro_batches).backward()  # type: ignore[no-untyped-call]
        nlls.append(nll.detach())
        # Copied where others are to follow: left in the midst of what was freed, they would part its places.
        routings += decisions if num_micro_batches == 1 else [_copy(routing) for routing in decisions]
        del objective, nll, decisions  # what the backward pass kept of them is not to stay while the next one runs
    with part("optimizer"):
        gradient_norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), state.spec.train.gradient_clip)
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.model.update_choice_biases(tuple(routings))
    nll = nlls[0] if num_micro_batches == 1 else torch.stack(nlls).mean()
    return StepOutcome(nll=nll, gradient_norm=gradient_norm.detach(), routings=tuple(routings))


def _copy(routing: Routing) -> Routing:
    tensors: dict[str, Any] = {name: value for name, value in vars(routing).items() if isinstance(value, Tensor)}
    return replace(routing, **{name: value.detach().clone() for name, value in tensors.items()})


def _micro_batches(batch: Batch, number: int) -> list[Batch]:
    """Cut a batch into so many, of whole sequences each."""
    pieces = zip(batch.inputs_BS.chunk(number), batch.targets_BS.chunk(number), strict=True)
    return [Batch(inputs_BS=inputs_BS, targets_BS=targets_BS) for inputs_BS, targets_BS in pieces]


def _forward(state: TrainState, batch: Batch) -> tuple[Tensor, Tensor, tuple[Routing, ...]]:
    """Give what is minimized, the nll, and the routings; not the logits, which the backward pass needs no more."""
    ffn = state.spec.model.ffn
    output: ModelOutput = state.model(
        batch.inputs_BS.to(state.device),
        capacity_factor=ffn.capacity_factor if isinstance(ffn, SparseFFNSpec) else None,
        group_tokens=state.spec.routing_group_tokens if isinstance(ffn, SparseFFNSpec) else None,
        noise=state.noise,
    )
    nll = mean_nll(output.logits_BSV.flatten(0, 1), batch.targets_BS.to(state.device).flatten())
    objective = nll
    if isinstance(ffn, SparseFFNSpec) and ffn.is_balanced_by_loss:
        objective = objective + ffn.aux_loss_weight * sum(routing.aux_loss for routing in output.routings)
    if isinstance(ffn, SparseFFNSpec) and ffn.router_z_loss_weight > 0:
        objective = objective + ffn.router_z_loss_weight * sum(routing.z_loss for routing in output.routings)
    return objective, nll, output.routings


def mean_nll(logits_TV: Tensor, target_T: Tensor) -> Tensor:
    """Mean nll of the targets: PyTorch's cross entropy, in the place of the logits from its start to their gradient.

    Args:
        logits_TV: Logits; overwritten, so that there is one tensor of this size and not two.
        target_T: Targets.
    """
    return _MeanNLL.apply(logits_TV, target_T)  # type: ignore[no-any-return, no-untyped-call]


class _MeanNLL(torch.autograd.Function):
    """∂/∂logits of the mean of -log p[target] is (p - [v = target]) / T."""

    @staticmethod
    def forward(ctx: Any, logits_TV: Tensor, target_T: Tensor) -> Tensor:
        log_probs_TV = logits_TV.detach()
        for rows_TV in torch.split(log_probs_TV, math.ceil(logits_TV.shape[0] / LOSS_SLICES)):
            rows_TV.copy_(F.log_softmax(rows_TV, dim=-1))
        ctx.save_for_backward(log_probs_TV, target_T)
        return F.nll_loss(log_probs_TV, target_T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        log_probs_TV, target_T = ctx.saved_tensors
        scale = grad / target_T.shape[0]
        # In place: it is the largest tensor of a model with many tokens to choose from, and nobody needs it afterwards.
        grad_logits_TV = log_probs_TV.exp_().mul_(scale)
        grad_logits_TV.scatter_add_(1, target_T.unsqueeze(-1), (-scale).expand(target_T.shape[0], 1))
        return grad_logits_TV, None


def save_state(state: TrainState) -> dict[str, Any]:
    """Copy everything that a step changes.

    Args:
        state: Not changed.
    """
    return {
        "model": {name: tensor.clone() for name, tensor in state.model.state_dict().items()},
        "optimizer": copy.deepcopy(state.optimizer.state_dict()),
        "noise": state.noise.get_state(),
    }


def restore_state(state: TrainState, saved: dict[str, Any]) -> None:
    """Go back to a saved state.

    Args:
        state: Changed in place.
        saved: From ``save_state``; used up.
    """
    state.model.load_state_dict(saved["model"])
    state.optimizer.load_state_dict(saved["optimizer"])
    state.noise.set_state(saved["noise"])
