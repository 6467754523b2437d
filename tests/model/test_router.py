"""Routing against a loop over tokens, and against cases that can be computed by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.errors import SpecError
from switchbench.model.router import Routing, route
from switchbench.spec import SparseFFNSpec, expert_capacity

SPEC = SparseFFNSpec(kind="sparse", d_ff=4)


def route_slowly(logits: torch.Tensor, *, group_tokens: int, capacity: int) -> tuple[list[tuple[int, int]], float]:
    """Kept (expert, token) pairs in order of expert and arrival, and the auxiliary loss, one token after the other."""
    num_tokens, num_experts = logits.shape
    kept: list[tuple[int, int]] = []
    aux_losses = []
    for first in range(0, num_tokens, group_tokens):
        used = [0] * num_experts
        chosen = [0] * num_experts
        mean_probability = [0.0] * num_experts
        for token in range(first, first + group_tokens):
            probabilities = logits[token].softmax(0).tolist()
            expert = probabilities.index(max(probabilities))
            chosen[expert] += 1
            for e in range(num_experts):
                mean_probability[e] += probabilities[e] / group_tokens
            if used[expert] < capacity:
                used[expert] += 1
                kept.append((expert, token))
        loads = [count / group_tokens for count in chosen]
        aux_losses.append(num_experts * sum(f * p for f, p in zip(loads, mean_probability, strict=True)))
    return sorted(kept), sum(aux_losses) / len(aux_losses)


def kept_pairs(routing: Routing) -> list[tuple[int, int]]:
    experts = torch.repeat_interleave(torch.arange(len(routing.kept_per_expert_E)), routing.kept_per_expert_E)
    return list(zip(experts.tolist(), routing.kept_tokens_N.tolist(), strict=True))


@settings(deadline=None, max_examples=60)
@given(
    num_groups=st.integers(1, 3),
    group_tokens=st.integers(1, 12),
    num_experts=st.integers(1, 6),
    capacity_factor=st.sampled_from([None, 0.1, 0.5, 1.0, 1.1, 1.25, 2.0, 9.0]),
    seed=st.integers(0, 2**16),
)
def test_equals_a_loop_over_tokens(
    num_groups: int, group_tokens: int, num_experts: int, capacity_factor: float | None, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_groups * group_tokens, num_experts, generator=generator, dtype=torch.float64)
    routing = route(logits, spec=SPEC, group_tokens=group_tokens, capacity_factor=capacity_factor)
    capacity = expert_capacity(group_tokens, num_experts=num_experts, capacity_factor=capacity_factor)
    kept, aux_loss = route_slowly(logits, group_tokens=group_tokens, capacity=capacity)
    assert kept_pairs(routing) == kept
    assert routing.aux_loss.item() == pytest.approx(aux_loss)
    assert routing.num_slots == num_groups * num_experts * capacity
    expected_gate = [logits[token].softmax(0)[expert].item() for expert, token in kept]
    assert routing.gate_N.tolist() == pytest.approx(expected_gate)


def one_hot_logits(experts: list[int], *, num_experts: int, height: float = 4.0) -> torch.Tensor:
    return height * torch.nn.functional.one_hot(torch.tensor(experts), num_experts).double()


def test_capacity_binds_exactly_when_all_choose_one_expert() -> None:
    routing = route(one_hot_logits([2] * 10, num_experts=4), spec=SPEC, group_tokens=10, capacity_factor=1.0)
    assert routing.kept_per_expert_E.tolist() == [0, 0, 3, 0]  # ceil(10/4)
    assert routing.kept_tokens_N.tolist() == [0, 1, 2]
    assert routing.tokens_per_expert_E.tolist() == [0, 0, 10, 0]


def test_first_come_first_served_within_each_group() -> None:
    logits = one_hot_logits([0, 1, 0, 0, 0, 1, 1, 1], num_experts=2)
    routing = route(logits, spec=SPEC, group_tokens=4, capacity_factor=1.0)
    assert kept_pairs(routing) == [(0, 0), (0, 2), (0, 4), (1, 1), (1, 5), (1, 6)]


def test_dropless_keeps_every_token() -> None:
    routing = route(one_hot_logits([1] * 7, num_experts=3), spec=SPEC, group_tokens=7, capacity_factor=None)
    assert routing.kept_tokens_N.tolist() == list(range(7))


@pytest.mark.parametrize("num_experts", [2, 4, 16])
def test_aux_loss_is_1_when_uniform_and_e_when_collapsed(num_experts: int) -> None:
    uniform = one_hot_logits(list(range(num_experts)) * 4, num_experts=num_experts)
    routing = route(uniform, spec=SPEC, group_tokens=num_experts * 4, capacity_factor=1.0)
    assert routing.aux_loss.item() == pytest.approx(1.0)
    collapsed = one_hot_logits([0] * 8, num_experts=num_experts, height=200.0)
    routing = route(collapsed, spec=SPEC, group_tokens=8, capacity_factor=1.0)
    assert routing.aux_loss.item() == pytest.approx(num_experts)


def test_aux_loss_does_not_depend_on_capacity() -> None:
    logits = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    losses = {
        factor: route(logits, spec=SPEC, group_tokens=64, capacity_factor=factor).aux_loss.item()
        for factor in (0.1, 1.0, None)
    }
    assert len(set(losses.values())) == 1


def test_aux_loss_gradient_reaches_the_logits_through_the_probabilities_alone() -> None:
    logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    routing = route(logits, spec=SPEC, group_tokens=12, capacity_factor=1.0)
    routing.aux_loss.backward()
    load = routing.tokens_per_expert_E / 12
    again = logits.detach().clone().requires_grad_()
    (3 * (load * again.softmax(dim=-1).mean(dim=0)).sum()).backward()
    torch.testing.assert_close(logits.grad, again.grad)
    assert logits.grad.abs().sum() > 0


def test_entropy_of_uniform_probabilities_is_log_e() -> None:
    routing = route(torch.zeros(5, 8), spec=SPEC, group_tokens=5, capacity_factor=1.0)
    assert routing.entropy.item() == pytest.approx(math.log(8))


@pytest.mark.parametrize(
    ("num_tokens", "num_experts", "capacity_factor", "expected"),
    [(1024, 16, 1.0, 0.0482), (1024, 16, 1.25, 0.00108), (1024, 64, 1.0, 0.0984), (4096, 64, 1.25, 0.00127)],
)
def test_uniform_routing_drops_the_binomial_expectation(
    num_tokens: int, num_experts: int, capacity_factor: float, expected: float
) -> None:
    """E[dropped] = E·Σ_n P(n)·max(n - C, 0)/T with n ~ Binomial(T, 1/E), within four standard errors of 60 draws."""
    capacity = expert_capacity(num_tokens, num_experts=num_experts, capacity_factor=capacity_factor)
    exact = (
        num_experts
        / num_tokens
        * sum(
            math.comb(num_tokens, n) * (num_experts - 1) ** (num_tokens - n) / num_experts**num_tokens * (n - capacity)
            for n in range(capacity + 1, min(num_tokens, 4 * capacity) + 1)
        )
    )
    assert exact == pytest.approx(expected, rel=0.01)
    generator = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(60):
        logits = torch.randn(num_tokens, num_experts, generator=generator)
        routing = route(logits, spec=SPEC, group_tokens=num_tokens, capacity_factor=capacity_factor)
        draws.append(1 - routing.kept_tokens_N.shape[0] / num_tokens)
    mean, error = torch.tensor(draws).mean().item(), torch.tensor(draws).std().item() / math.sqrt(60)
    assert abs(mean - exact) < 4 * error


@pytest.mark.parametrize(
    ("num_tokens", "num_experts", "capacity_factor", "expected"),
    [(4096, 8, 1.25, 640), (10, 4, 1.0, 3), (10, 3, 1.1, 4), (100, 10, 1.1, 11), (7, 2, None, 7), (1, 64, 0.01, 1)],
)
def test_expert_capacity_rounds_up_exactly(
    num_tokens: int, num_experts: int, capacity_factor: float | None, expected: int
) -> None:
    # 1.1 · 100/10 is 11 in decimals, but 11.000000000000002 in floating point.
    assert expert_capacity(num_tokens, num_experts=num_experts, capacity_factor=capacity_factor) == expected


@pytest.mark.parametrize(
    "bad", [{"num_experts": 0}, {"capacity_factor": 0.0}, {"capacity_factor": float("inf")}, {"top_k": 0}]
)
def test_expert_capacity_names_what_is_out_of_range(bad: dict) -> None:
    arguments = {"num_experts": 4, "capacity_factor": 1.0} | bad
    (name,) = bad
    with pytest.raises(SpecError, match=name):
        expert_capacity(16, **arguments)
