"""The backends against each other and against plain indexing under autograd; what the layer keeps for its backward."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from switchbench.errors import UsageError
from switchbench.model.activation import activate
from switchbench.model.dispatch import Experts, apply_experts, choose_backend, computed_slots
from switchbench.model.router import Routing, route, route_by_hash
from switchbench.spec import SparseFFNSpec

CPU = torch.device("cpu")
ROUTERS = [{"router": "switch"}, {"router": "top_k", "top_k": 2}, {"router": "expert_choice"}, {"router": "hash"}]
ACTIVATIONS = ["relu", "gelu", "swiglu", "geglu"]


def layer(num_experts: int, **fields: object) -> SparseFFNSpec:
    return SparseFFNSpec.model_validate({"kind": "sparse", "d_ff": 8, "num_experts": num_experts} | fields)


def draw(*shape: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def experts_of(spec: SparseFFNSpec, *, d_model: int, seed: int, dtype: torch.dtype) -> Experts:
    is_gated = spec.activation in ("swiglu", "geglu")
    return Experts(
        w_in_EDF=draw(spec.num_experts, d_model, spec.d_ff, seed=seed, dtype=dtype),
        w_gate_EDF=draw(spec.num_experts, d_model, spec.d_ff, seed=seed + 1, dtype=dtype) if is_gated else None,
        w_out_EFD=draw(spec.num_experts, spec.d_ff, d_model, seed=seed + 2, dtype=dtype),
        activation=spec.activation,
    )


def routing_of(logits: torch.Tensor, *, spec: SparseFFNSpec, groups: int, capacity_factor: float | None) -> Routing:
    group_tokens = logits.shape[0] // groups
    if spec.router == "hash":
        return route_by_hash(
            logits.argmax(dim=-1),
            spec=spec,
            group_tokens=group_tokens,
            capacity_factor=capacity_factor,
            dtype=logits.dtype,
        )
    return route(logits, spec=spec, group_tokens=group_tokens, capacity_factor=capacity_factor)


def apply_slowly(x: torch.Tensor, *, routing: Routing, experts: Experts, gate_multiplier: float) -> torch.Tensor:
    """One assignment after the other, by plain indexing; autograd does the rest."""
    rows = [torch.zeros_like(x[0]) for _ in x]
    expert_of = torch.repeat_interleave(torch.arange(len(routing.kept_per_expert_E)), routing.kept_per_expert_E)
    for token, expert, gate in zip(routing.token_N.tolist(), expert_of.tolist(), routing.gate_N, strict=True):
        gated = None if experts.w_gate_EDF is None else x[token] @ experts.w_gate_EDF[expert]
        active = activate(x[token] @ experts.w_in_EDF[expert], gated, activation=experts.activation)
        rows[token] = rows[token] + gate * gate_multiplier * (active @ experts.w_out_EFD[expert])
    return torch.stack(rows)


def gradients(y: torch.Tensor, x: torch.Tensor, logits: torch.Tensor, experts: Experts) -> list[torch.Tensor]:
    weights = [w for w in (experts.w_in_EDF, experts.w_gate_EDF, experts.w_out_EFD) if w is not None]
    objective = (y * draw(*y.shape, seed=99, dtype=y.dtype).detach()).sum()
    arguments = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    return list(torch.autograd.grad(objective, [x, logits, *weights], **arguments))


@settings(deadline=None, max_examples=120)
@given(
    backend=st.sampled_from(["loop", "grouped_mm", "padded"]),
    router=st.sampled_from(ROUTERS),
    activation=st.sampled_from(ACTIVATIONS),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    num_experts=st.integers(1, 7),
    groups=st.integers(1, 2),
    group_tokens=st.integers(1, 9),
    capacity_factor=st.sampled_from([None, 0.3, 1.0, 1.25]),
    gate_multiplier=st.sampled_from([1.0, 2.5]),
    seed=st.integers(0, 2**16),
)
def test_every_backend_equals_plain_indexing_in_output_and_gradients(
    backend: str,
    router: dict,
    activation: str,
    dtype: torch.dtype,
    num_experts: int,
    groups: int,
    group_tokens: int,
    capacity_factor: float | None,
    gate_multiplier: float,
    seed: int,
) -> None:
    assume(backend != "grouped_mm" or dtype != torch.float64)
    assume(router["router"] != "expert_choice" or capacity_factor is not None)
    assume(router.get("top_k", 1) <= num_experts)
    spec = layer(num_experts, activation=activation, **router, capacity_factor=capacity_factor)
    experts = experts_of(spec, d_model=4, seed=seed, dtype=dtype)
    x = draw(groups * group_tokens, 4, seed=seed + 3, dtype=dtype)
    logits = draw(x.shape[0], num_experts, seed=seed + 4, dtype=dtype)
    routing = routing_of(logits, spec=spec, groups=groups, capacity_factor=capacity_factor)
    arguments = {"routing": routing, "experts": experts, "gate_multiplier": gate_multiplier}
    got = apply_experts(x, **arguments, backend=backend)
    expected = apply_slowly(x, **arguments)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(got, expected, **tolerance)
    for one, other in zip(gradients(got, x, logits, experts), gradients(expected, x, logits, experts), strict=True):
        torch.testing.assert_close(one, other, **tolerance)


@pytest.mark.parametrize("backend", ["loop", "grouped_mm", "padded"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_empty_experts_get_gradients_of_exactly_zero(backend: str, activation: str) -> None:
    spec = layer(5, activation=activation)
    experts = experts_of(spec, d_model=4, seed=0, dtype=torch.float32)
    x = draw(12, 4, seed=3, dtype=torch.float32)
    logits = torch.zeros(12, 5)
    logits[:, 1], logits[::2, 3] = 1.0, 2.0  # experts 0, 2 and 4 get nothing
    routing = routing_of(logits.requires_grad_(), spec=spec, groups=1, capacity_factor=None)
    y = apply_experts(x, routing=routing, experts=experts, gate_multiplier=1.0, backend=backend)
    for gradient in gradients(y, x, logits, experts)[2:]:
        assert [bool(one.any()) for one in gradient] == [False, True, False, True, False]
        assert torch.equal(gradient[[0, 2, 4]], torch.zeros_like(gradient[[0, 2, 4]]))


@pytest.mark.parametrize("backend", ["loop", "grouped_mm", "padded"])
def test_dispatch_is_a_bijection_on_kept_tokens(backend: str) -> None:
    """Experts that multiply by 1 and by their number say who was served by whom; the dropped get exactly nothing."""
    spec = layer(4, d_ff=4)
    numbers = torch.arange(1.0, 5.0)
    experts = Experts(
        w_in_EDF=torch.eye(4).repeat(4, 1, 1),
        w_gate_EDF=None,
        w_out_EFD=torch.eye(4) * numbers[:, None, None],
        activation="relu",
    )
    x = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)) + 1
    logits = draw(40, 4, seed=1, dtype=torch.float32)
    routing = routing_of(logits, spec=spec, groups=2, capacity_factor=0.8)
    y = apply_experts(x, routing=routing, experts=experts, gate_multiplier=1.0, backend=backend)
    gate, expert = logits.softmax(dim=-1).max(dim=-1)
    expected = x * (gate * numbers[expert]).unsqueeze(-1)
    kept = torch.zeros(40, dtype=torch.bool)
    kept[routing.token_N] = True
    assert 0 < kept.sum() < 40
    torch.testing.assert_close(y[kept], expected[kept])
    assert torch.equal(y[~kept], torch.zeros_like(y[~kept]))


@pytest.mark.parametrize("backend", ["loop", "grouped_mm", "padded"])
def test_dropout_is_drawn_from_its_source_and_reaches_the_gradients(backend: str) -> None:
    spec = layer(2)
    weights = experts_of(spec, d_model=4, seed=0, dtype=torch.float32)
    x, logits = draw(30, 4, seed=3, dtype=torch.float32), draw(30, 2, seed=4, dtype=torch.float32)
    routing = routing_of(logits, spec=spec, groups=1, capacity_factor=None)

    def run(seed: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        experts = Experts(**vars(weights) | {"dropout": 0.5, "noise": torch.Generator().manual_seed(seed)})
        y = apply_experts(x, routing=routing, experts=experts, gate_multiplier=1.0, backend=backend)
        return y, gradients(y, x, logits, experts)

    y, got = run(0)
    again, _ = run(0)
    other, _ = run(1)
    assert torch.equal(y, again)
    assert not torch.equal(y, other)
    # The layer is linear in w_out: its value is the sum of w_out times its gradient, with the very same mask.
    objective = (y * draw(30, 4, seed=99, dtype=torch.float32).detach()).sum()
    torch.testing.assert_close((got[-1] * weights.w_out_EFD).sum(), objective, rtol=1e-4, atol=1e-4)


def test_computed_slots_count_the_padding() -> None:
    logits = torch.zeros(8, 4)
    logits[:6, 2] = 1.0
    limited = routing_of(logits, spec=layer(4), groups=1, capacity_factor=2.0)
    assert computed_slots(limited, backend="loop") == 4 + 2
    assert computed_slots(limited, backend="padded") == 4 * 4
    dropless = routing_of(logits, spec=layer(4), groups=1, capacity_factor=None)
    assert computed_slots(dropless, backend="grouped_mm") == 8
    assert computed_slots(dropless, backend="padded") == 4 * 6


def test_auto_takes_the_loop_on_a_cpu_and_what_is_asked_for_is_taken() -> None:
    assert choose_backend("auto", device=CPU, dtype=torch.float32, d_model=6, d_ff=5) == "loop"
    assert choose_backend("padded", device=CPU, dtype=torch.float64, d_model=6, d_ff=5) == "padded"
    assert choose_backend("grouped_mm", device=CPU, dtype=torch.bfloat16, d_model=8, d_ff=16) == "grouped_mm"


@pytest.mark.parametrize(
    ("dtype", "d_model", "d_ff"), [(torch.float64, 8, 8), (torch.float32, 6, 8), (torch.bfloat16, 8, 4)]
)
def test_what_the_grouped_matmul_cannot_take_is_refused_in_words(dtype: torch.dtype, d_model: int, d_ff: int) -> None:
    with pytest.raises(UsageError, match=rf"d_model {d_model} and d_ff {d_ff} .* 'loop' or 'padded'"):
        choose_backend("grouped_mm", device=CPU, dtype=dtype, d_model=d_model, d_ff=d_ff)


@pytest.mark.parametrize("num_experts", [1, 8, 32])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_little_more_is_kept_than_the_backward_pass_needs(num_experts: int, activation: str) -> None:
    """The peak counts the saved tensors once each, on top of weights and gradients; 1.15 times the least there can be.

    The least: the input, the hidden values before (not for relu) and after the activation, the experts' answers, whose
    products with the output's gradient are the gates' gradients, and the router's probabilities.
    """
    d_model, d_ff, num_tokens = 64, 256, 512
    spec = layer(num_experts, d_ff=d_ff, activation=activation)
    experts = experts_of(spec, d_model=d_model, seed=0, dtype=torch.float32)
    x = draw(num_tokens, d_model, seed=1, dtype=torch.float32)
    w_router = draw(d_model, num_experts, seed=2, dtype=torch.float32)
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        routing = routing_of(x @ w_router, spec=spec, groups=1, capacity_factor=None)
        y = apply_experts(x, routing=routing, experts=experts, gate_multiplier=1.0, backend="loop")
        objective = y.sum() + 0.01 * routing.aux_loss
    objective.backward()
    weights = [w_router, *(w for w in (experts.w_in_EDF, experts.w_gate_EDF, experts.w_out_EFD) if w is not None)]
    weight_bytes = sum(w.numel() * 4 for w in weights)
    hidden_tensors = {"relu": 1, "gelu": 2, "swiglu": 3, "geglu": 3}[activation]
    needed = 4 * num_tokens * (2 * d_model + hidden_tensors * d_ff + num_experts)
    activations = sum(saved.values()) - weight_bytes
    assert activations > needed - 4 * num_tokens * num_experts
    assert 2 * weight_bytes + activations <= 1.15 * (2 * weight_bytes + needed)
