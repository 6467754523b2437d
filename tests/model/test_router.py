"""Routing against a loop over tokens, and against cases that can be computed by hand."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from switchbench.errors import SpecError
from switchbench.model.router import Routing, route, route_by_hash
from switchbench.spec import SparseFFNSpec, expert_capacity


def layer(num_experts: int, **fields: object) -> SparseFFNSpec:
    return SparseFFNSpec.model_validate({"kind": "sparse", "d_ff": 4, "num_experts": num_experts} | fields)


def switch(logits: torch.Tensor, **arguments: object) -> Routing:
    return route(logits, spec=layer(logits.shape[1]), **arguments)


def route_slowly(
    logits: torch.Tensor, *, spec: SparseFFNSpec, group_tokens: int, capacity: int
) -> tuple[dict[tuple[int, int], float], float]:
    """Gates of the kept (expert, token) pairs, and the auxiliary loss, one token (or expert) after the other."""
    num_tokens, num_experts = logits.shape
    gates: dict[tuple[int, int], float] = {}
    aux_losses = []
    for first in range(0, num_tokens, group_tokens):
        group = range(first, first + group_tokens)
        probabilities = {token: logits[token].softmax(0).tolist() for token in group}
        used, chosen = [0] * num_experts, [0] * num_experts
        if spec.router == "expert_choice":
            for expert in range(num_experts):
                best = sorted(group, key=lambda token, e=expert: -probabilities[token][e])[
                    : min(capacity, group_tokens)
                ]
                chosen[expert] = len(best)
                gates |= {(expert, token): probabilities[token][expert] for token in best}
        else:
            for token in group:
                experts = sorted(range(num_experts), key=lambda e, token=token: -probabilities[token][e])[: spec.top_k]
                total = sum(probabilities[token][expert] for expert in experts)
                divisor = total if spec.router == "top_k" and spec.normalize_gates else 1.0
                for expert in experts:
                    chosen[expert] += 1
                    if used[expert] < capacity:
                        used[expert] += 1
                        gates[expert, token] = probabilities[token][expert] / divisor
        loads = [count / sum(chosen) for count in chosen]
        means = [sum(probabilities[token][e] for token in group) / group_tokens for e in range(num_experts)]
        aux_losses.append(num_experts * sum(f * p for f, p in zip(loads, means, strict=True)))
    return gates, sum(aux_losses) / len(aux_losses)


def kept_pairs(routing: Routing) -> list[tuple[int, int]]:
    experts = torch.repeat_interleave(torch.arange(len(routing.kept_per_expert_E)), routing.kept_per_expert_E)
    return list(zip(experts.tolist(), routing.token_N.tolist(), strict=True))


@settings(deadline=None, max_examples=120)
@given(
    router=st.sampled_from(["switch", "top_k", "top_k", "expert_choice"]),
    normalize_gates=st.booleans(),
    num_groups=st.integers(1, 3),
    group_tokens=st.integers(1, 12),
    num_experts=st.integers(2, 6),
    capacity_factor=st.sampled_from([None, 0.1, 0.5, 1.0, 1.1, 1.25, 2.0, 9.0]),
    seed=st.integers(0, 2**16),
)
def test_equals_a_loop_over_tokens(
    router: str,
    normalize_gates: bool,
    num_groups: int,
    group_tokens: int,
    num_experts: int,
    capacity_factor: float | None,
    seed: int,
) -> None:
    assume(router != "expert_choice" or capacity_factor is not None)
    generator = torch.Generator().manual_seed(seed)
    top_k = 1 if router == "switch" else int(torch.randint(2, num_experts + 1, (), generator=generator))
    normalize = normalize_gates if router == "top_k" else True
    spec = layer(
        num_experts, router=router, top_k=top_k, normalize_gates=normalize, capacity_factor=capacity_factor or 1.0
    )
    logits = torch.randn(num_groups * group_tokens, num_experts, generator=generator, dtype=torch.float64)
    routing = route(logits, spec=spec, group_tokens=group_tokens, capacity_factor=capacity_factor)
    capacity = expert_capacity(group_tokens, num_experts=num_experts, capacity_factor=capacity_factor, top_k=top_k)
    gates, aux_loss = route_slowly(logits, spec=spec, group_tokens=group_tokens, capacity=capacity)
    # A bijection on the kept pairs: each stands exactly once, in the order of experts and arrival.
    assert kept_pairs(routing) == sorted(gates)
    assert routing.gate_N.tolist() == pytest.approx([gates[pair] for pair in sorted(gates)])
    assert routing.aux_loss.item() == pytest.approx(aux_loss)
    slots = min(capacity, group_tokens) if router == "expert_choice" else capacity
    assert routing.num_slots == num_groups * num_experts * slots
    if router == "expert_choice":
        assert (routing.num_assignments, routing.num_kept) == (logits.shape[0], len({token for _, token in gates}))
    else:
        assert (routing.num_assignments, routing.num_kept) == (logits.shape[0] * top_k, len(gates))
    assert routing.z_loss.item() == pytest.approx(float(logits.exp().sum(dim=-1).log().square().mean()))
    assert routing.confidence.item() == pytest.approx(float(logits.softmax(dim=-1).amax(dim=-1).mean()))
    torch.testing.assert_close(routing.mean_probs_E, logits.softmax(dim=-1).mean(dim=0))


def test_every_choice_of_a_token_comes_before_the_next_tokens() -> None:
    # Both tokens want experts 0 and 1 in this order; with one slot each, the first token gets both.
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    routing = route(logits, spec=layer(3, router="top_k", top_k=2), group_tokens=2, capacity_factor=0.5)
    assert kept_pairs(routing) == [(0, 0), (1, 0)]


def test_gates_are_normalized_before_dropping() -> None:
    # Token 0 fills expert 0; what token 1 keeps, its second choice, is not blown up to 1.
    logits = torch.tensor([[3.0, 0.0, 1.0], [3.0, 1.0, 0.0]], dtype=torch.float64)
    routing = route(logits, spec=layer(3, router="top_k", top_k=2), group_tokens=2, capacity_factor=0.5)
    assert kept_pairs(routing) == [(0, 0), (1, 1), (2, 0)]
    second = math.exp(1) / (math.exp(1) + math.exp(3))
    assert routing.gate_N.tolist() == pytest.approx([1 - second, second, second])


def test_a_bias_moves_the_choice_and_not_the_gate() -> None:
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    spec = layer(2, balance="bias")
    bias = torch.tensor([0.0, 5.0], dtype=torch.float64)
    routing = route(logits, spec=spec, group_tokens=2, capacity_factor=None, choice_bias_E=bias)
    assert kept_pairs(routing) == [(1, 0), (1, 1)]
    assert routing.gate_N.tolist() == pytest.approx([1 / (1 + math.e)] * 2)


def test_hash_routing_is_a_table() -> None:
    experts = torch.tensor([1, 0, 1, 1, 0, 1])
    spec = layer(2, router="hash")
    routing = route_by_hash(experts, spec=spec, group_tokens=3, capacity_factor=1.0, dtype=torch.float64)
    assert kept_pairs(routing) == [(0, 1), (0, 4), (1, 0), (1, 2), (1, 3), (1, 5)]
    assert routing.gate_N.tolist() == [1.0] * 6
    assert routing.tokens_per_expert_EG.tolist() == [[1, 1], [2, 2]]
    assert routing.aux_loss.item() == pytest.approx(2 * ((1 / 3) ** 2 + (2 / 3) ** 2))


def test_z_loss_at_zero_logits_is_the_squared_logarithm_of_e() -> None:
    routing = switch(torch.zeros(5, 8), group_tokens=5, capacity_factor=1.0)
    assert routing.z_loss.item() == pytest.approx(math.log(8) ** 2)


def one_hot_logits(experts: list[int], *, num_experts: int, height: float = 4.0) -> torch.Tensor:
    return height * torch.nn.functional.one_hot(torch.tensor(experts), num_experts).double()


def test_capacity_binds_exactly_when_all_choose_one_expert() -> None:
    routing = switch(one_hot_logits([2] * 10, num_experts=4), group_tokens=10, capacity_factor=1.0)
    assert routing.kept_per_expert_E.tolist() == [0, 0, 3, 0]  # ceil(10/4)
    assert routing.token_N.tolist() == [0, 1, 2]
    assert routing.tokens_per_expert_EG.tolist() == [[0], [0], [10], [0]]


def test_first_come_first_served_within_each_group() -> None:
    logits = one_hot_logits([0, 1, 0, 0, 0, 1, 1, 1], num_experts=2)
    routing = switch(logits, group_tokens=4, capacity_factor=1.0)
    assert kept_pairs(routing) == [(0, 0), (0, 2), (0, 4), (1, 1), (1, 5), (1, 6)]


def test_dropless_keeps_every_token() -> None:
    routing = switch(one_hot_logits([1] * 7, num_experts=3), group_tokens=7, capacity_factor=None)
    assert routing.token_N.tolist() == list(range(7))


@pytest.mark.parametrize("num_experts", [2, 4, 16])
def test_aux_loss_is_1_when_uniform_and_e_when_collapsed(num_experts: int) -> None:
    uniform = one_hot_logits(list(range(num_experts)) * 4, num_experts=num_experts)
    routing = switch(uniform, group_tokens=num_experts * 4, capacity_factor=1.0)
    assert routing.aux_loss.item() == pytest.approx(1.0)
    collapsed = one_hot_logits([0] * 8, num_experts=num_experts, height=200.0)
    routing = switch(collapsed, group_tokens=8, capacity_factor=1.0)
    assert routing.aux_loss.item() == pytest.approx(num_experts)


def test_aux_loss_does_not_depend_on_capacity() -> None:
    logits = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    losses = {
        factor: switch(logits, group_tokens=64, capacity_factor=factor).aux_loss.item() for factor in (0.1, 1.0, None)
    }
    assert len(set(losses.values())) == 1


def test_aux_loss_gradient_reaches_the_logits_through_the_probabilities_alone() -> None:
    logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    routing = switch(logits, group_tokens=12, capacity_factor=1.0)
    routing.aux_loss.backward()
    load = routing.tokens_per_expert_EG.sum(dim=1) / 12
    again = logits.detach().clone().requires_grad_()
    (3 * (load * again.softmax(dim=-1).mean(dim=0)).sum()).backward()
    torch.testing.assert_close(logits.grad, again.grad)
    assert logits.grad.abs().sum() > 0


def test_entropy_of_uniform_probabilities_is_log_e() -> None:
    routing = switch(torch.zeros(5, 8), group_tokens=5, capacity_factor=1.0)
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
        routing = switch(logits, group_tokens=num_tokens, capacity_factor=capacity_factor)
        draws.append(1 - routing.token_N.shape[0] / num_tokens)
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
