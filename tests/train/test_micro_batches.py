"""A step in micro-batches is the step, but for rounding; and how small they may become."""

import pytest
import torch

from switchbench.data.batches import Batch
from switchbench.spec import RunSpec, smaller_micro_batch
from switchbench.train.history import Path
from switchbench.train.steps import StepOutcome, TrainState, start_training, take_step
from tests.specs import sparse, tiny_run

GROUPS = {"routing_group_tokens": 64}
CASES = {
    "dense": {"kind": "dense"},
    "switch": sparse(capacity_factor=1.0, router_z_loss_weight=0.1, aux_loss_weight=0.1, **GROUPS),
    "top_k": sparse(router="top_k", top_k=2, **GROUPS),
    "bias": sparse(balance="bias", balance_bias_rate=0.1, **GROUPS),
    "expert_choice": sparse(router="expert_choice", **GROUPS),
}


def batch_of(spec: RunSpec) -> Batch:
    tokens = torch.randint(0, 256, (8, 33), generator=torch.Generator().manual_seed(0))
    return Batch(inputs_BS=tokens[:, :-1], targets_BS=tokens[:, 1:])


def step(spec: RunSpec, *, micro_batch_tokens: int | None) -> tuple[TrainState, StepOutcome]:
    """One step in float64, where rounding is small enough to tell it from a mistake."""
    state = start_training(spec, device=torch.device("cpu"))
    state.model.double()
    state.optimizer.load_state_dict(state.optimizer.state_dict())  # which gives the moments the width of the weights
    outcome = take_step(state, batch_of(spec), learning_rate=1e-3, micro_batch_tokens=micro_batch_tokens)
    return state, outcome


@pytest.mark.parametrize("ffn", CASES.values(), ids=CASES)
@pytest.mark.parametrize("micro_batch_tokens", [64, 128])
def test_micro_batches_change_nothing_but_rounding(ffn: dict, micro_batch_tokens: int) -> None:
    spec = tiny_run(ffn=ffn)
    whole, whole_outcome = step(spec, micro_batch_tokens=None)
    cut, cut_outcome = step(spec, micro_batch_tokens=micro_batch_tokens)
    torch.testing.assert_close(cut_outcome.nll, whole_outcome.nll)
    torch.testing.assert_close(cut_outcome.gradient_norm, whole_outcome.gradient_norm)
    for name, tensor in whole.model.state_dict().items():  # AdamW's first step is a sign: look at its moments, too
        torch.testing.assert_close(cut.model.state_dict()[name], tensor, rtol=1e-6, atol=1e-9)
    for parameter, other in zip(whole.model.parameters(), cut.model.parameters(), strict=True):
        torch.testing.assert_close(
            cut.optimizer.state[other]["exp_avg"], whole.optimizer.state[parameter]["exp_avg"], rtol=1e-6, atol=1e-9
        )


def test_micro_batches_leave_copies_behind() -> None:
    """The tensors themselves would stay in the midst of what the backward pass gives back."""
    _, outcome = step(tiny_run(ffn=CASES["switch"]), micro_batch_tokens=64)
    assert len(outcome.routings) == 4
    assert not any(routing.gate_N.requires_grad or routing.aux_loss.requires_grad for routing in outcome.routings)


@pytest.mark.parametrize("ffn", [ffn for name, ffn in CASES.items() if name != "dense"])
def test_the_statistics_are_those_of_the_whole_batch(ffn: dict) -> None:
    spec = tiny_run(ffn=ffn)
    paths = []
    for micro_batch_tokens, number in ((None, 1), (64, 4)):
        _, outcome = step(spec, micro_batch_tokens=micro_batch_tokens)
        path = Path()
        path.add_routings(outcome.routings, seq_len=32, backend="loop", num_micro_batches=number)
        path.add_steps([0.0], gradient_norms=[0.0], time_s=1.0)
        paths.append(path)
    whole, cut = paths
    assert (cut.kept, cut.assignments, cut.filled, cut.slots) == (
        whole.kept,
        whole.assignments,
        whole.filled,
        whole.slots,
    )
    for name, values in whole.window.routing_columns.items():
        torch.testing.assert_close(cut.window.routing_columns[name], values, msg=name)


@pytest.mark.parametrize(
    ("ffn", "sizes"),
    [
        ({"kind": "dense"}, [128, 64, 32]),  # down to a sequence
        (sparse(**GROUPS), [128, 64]),  # down to a routing group
        (sparse(), []),  # the whole batch is one
    ],
)
def test_micro_batches_are_halved_down_to_a_unit(ffn: dict, sizes: list[int]) -> None:
    spec, found, tokens = tiny_run(ffn=ffn), [], None
    while (tokens := smaller_micro_batch(spec, tokens)) is not None:
        found.append(tokens)
    assert found == sizes


def test_micro_batches_divide_a_batch_that_cannot_be_halved() -> None:
    spec = tiny_run(train={"batch_tokens": 32 * 15, "tokens": 32 * 15 * 20})
    assert smaller_micro_batch(spec) == 32 * 5
    assert smaller_micro_batch(spec, 32 * 5) == 32
