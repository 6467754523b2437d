"""The Switch layer against a loop over tokens, in output and in every gradient, and against the dense layer."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from switchbench.model.activation import activate
from switchbench.model.ffn import DenseFFN, SwitchFFN, expected_gate_rms
from switchbench.model.router import Routing
from switchbench.spec import SparseFFNSpec, expert_capacity

ACTIVATIONS = ["relu", "gelu", "swiglu", "geglu"]


ROUTERS = [{"router": "switch"}, {"router": "top_k", "top_k": 2}, {"router": "expert_choice"}, {"router": "hash"}]


def switch_ffn(*, d_model: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64, **fields: object) -> SwitchFFN:
    spec = SparseFFNSpec.model_validate({"kind": "sparse", "d_ff": 5, "num_experts": 4} | fields)
    layer = SwitchFFN(spec, d_model=d_model, vocab_size=20).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    if layer.expert_of_token_V is not None:
        layer.expert_of_token_V.random_(0, spec.num_experts, generator=generator)
    return layer


def tokens(num_tokens: int, *, d_model: int = 6, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(num_tokens, d_model, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def apply(layer: SwitchFFN, x: torch.Tensor, **arguments: object) -> tuple[torch.Tensor, Routing]:
    token_T = torch.arange(x.shape[0]) % 20
    return layer(x, token_T=token_T, **{"group_tokens": x.shape[0], "capacity_factor": None} | arguments)


def forward_slowly(layer: SwitchFFN, x: torch.Tensor, *, group_tokens: int, capacity_factor: float | None):
    """One token after the other, by plain indexing; differentiable by autograd alone."""
    spec = layer.spec
    num_experts = spec.num_experts
    capacity = expert_capacity(group_tokens, num_experts=num_experts, capacity_factor=capacity_factor, top_k=spec.top_k)

    def ffn(weights: object, token: int, pick: object) -> torch.Tensor:
        gate = None if weights.w_gate is None else x[token] @ weights.w_gate[pick]
        hidden = activate(x[token] @ weights.w_in[pick], gate, activation=spec.activation)
        return hidden @ weights.w_out[pick]

    rows = [torch.zeros_like(x[0]) for _ in x]
    for first in range(0, x.shape[0], group_tokens):
        group = range(first, first + group_tokens)
        used = [0] * num_experts
        if spec.router == "expert_choice":
            probabilities = torch.stack([(x[token] @ layer.w_router).softmax(dim=-1) for token in group])
            for expert in range(num_experts):
                for place in probabilities[:, expert].topk(min(capacity, group_tokens)).indices.tolist():
                    token = first + place
                    rows[token] = rows[token] + probabilities[place, expert] * ffn(layer, token, expert)
            continue
        for token in group:
            if spec.router == "hash":
                choices = {int(layer.expert_of_token_V[token % 20]): torch.ones(())}
            else:
                probabilities = (x[token] @ layer.w_router).softmax(dim=-1)
                best = probabilities.topk(spec.top_k).indices.tolist()
                total = probabilities[best].sum() if spec.router == "top_k" and spec.normalize_gates else 1.0
                choices = {expert: probabilities[expert] / total for expert in best}
            for expert, gate in choices.items():
                used[expert] += 1
                if used[expert] <= capacity:
                    rows[token] = rows[token] + gate * layer.gate_multiplier * ffn(layer, token, expert)
    if layer.shared is not None:
        rows = [row + ffn(layer.shared, token, slice(None)) for token, row in enumerate(rows)]
    return torch.stack(rows)


@settings(deadline=None, max_examples=80)
@given(
    router=st.sampled_from(ROUTERS),
    activation=st.sampled_from(ACTIVATIONS),
    num_experts=st.integers(2, 6),
    num_groups=st.integers(1, 3),
    group_tokens=st.integers(1, 8),
    capacity_factor=st.sampled_from([None, 0.5, 1.0, 1.25]),
    shared_experts=st.sampled_from([0, 0, 1, 2]),
    seed=st.integers(0, 2**16),
)
def test_equals_a_loop_over_tokens_in_output_and_gradients(
    router: dict,
    activation: str,
    num_experts: int,
    num_groups: int,
    group_tokens: int,
    capacity_factor: float | None,
    shared_experts: int,
    seed: int,
) -> None:
    assume(router["router"] != "expert_choice" or capacity_factor is not None)
    fields = {"activation": activation, "num_experts": num_experts, "shared_experts": shared_experts}
    if router["router"] == "switch" and seed % 2:
        fields["gate_scale"] = "unit_at_init"
    layer = switch_ffn(**router, **fields, seed=seed)
    x = tokens(num_groups * group_tokens, seed=seed + 1).requires_grad_()
    inputs = [x, *layer.parameters()]
    weights = tokens(x.shape[0], seed=seed + 2)
    fast, _ = apply(layer, x, group_tokens=group_tokens, capacity_factor=capacity_factor)
    slow = forward_slowly(layer, x, group_tokens=group_tokens, capacity_factor=capacity_factor)
    torch.testing.assert_close(fast, slow)
    arguments = {"allow_unused": True, "materialize_grads": True}
    fast_gradients = torch.autograd.grad((fast * weights).sum(), inputs, **arguments)
    slow_gradients = torch.autograd.grad((slow * weights).sum(), inputs, **arguments)
    for got, expected in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_expert_is_the_dense_layer_to_the_bit(activation: str, dtype: torch.dtype) -> None:
    layer = switch_ffn(activation=activation, num_experts=1, dtype=dtype)
    dense = DenseFFN(d_model=6, d_ff=5, activation=activation).to(dtype)
    for name, parameter in dense.named_parameters():
        parameter.data.copy_(getattr(layer, name)[0])
    x, y = tokens(40, dtype=dtype).requires_grad_(), tokens(40, dtype=dtype).requires_grad_()
    weights = tokens(40, seed=3, dtype=dtype)
    sparse_out, _ = apply(layer, x, capacity_factor=1.0)
    dense_out = dense(y)
    assert torch.equal(sparse_out, dense_out)
    (sparse_out * weights).sum().backward()
    (dense_out * weights).sum().backward()
    assert torch.equal(x.grad, y.grad)
    for name, parameter in dense.named_parameters():
        assert torch.equal(getattr(layer, name).grad[0], parameter.grad)


def test_dropped_tokens_give_exactly_zero() -> None:
    layer = switch_ffn(num_experts=4)
    layer.w_router.data.zero_()
    layer.w_router.data[:, 2] = 10.0
    x = tokens(12).abs()  # all choose expert 2
    y, routing = apply(layer, x, capacity_factor=1.0)
    assert routing.kept_per_expert_E.tolist() == [0, 0, 3, 0]
    assert torch.equal(y[3:], torch.zeros_like(y[3:]))
    assert (y[:3] != 0).any(dim=1).all()


def test_empty_experts_get_zero_gradients() -> None:
    layer = switch_ffn(num_experts=4)
    layer.w_router.data.zero_()
    layer.w_router.data[:, 1] = 10.0
    y, _ = apply(layer, tokens(8).abs())
    y.sum().backward()
    for parameter in (layer.w_in, layer.w_out):
        assert [bool(gradient.any()) for gradient in parameter.grad] == [False, True, False, False]


def test_task_loss_alone_moves_the_router() -> None:
    layer = switch_ffn()
    y, _ = apply(layer, tokens(16), capacity_factor=1.25)
    y.square().sum().backward()
    assert layer.w_router.grad.abs().sum() > 0


def test_jitter_touches_the_router_alone_and_needs_a_source() -> None:
    layer = switch_ffn(router_jitter=0.5)
    x = tokens(64)
    quiet, _ = apply(layer, x)
    again, _ = apply(layer, x)
    assert torch.equal(quiet, again)
    noisy, routing = apply(layer, x, noise=torch.Generator().manual_seed(0))
    assert not torch.equal(noisy, quiet)
    # What an expert computed is its output for the clean token times the noisy gate.
    experts = torch.repeat_interleave(torch.arange(4), routing.kept_per_expert_E)
    for expert, token, gate in zip(experts, routing.token_N, routing.gate_N, strict=True):
        clean = (x[token] @ layer.w_in[expert]).relu() @ layer.w_out[expert]
        torch.testing.assert_close(noisy[token], gate * clean)


@pytest.mark.parametrize("num_experts", [1, 4, 32])
def test_unit_at_init_makes_the_gates_rms_one(num_experts: int) -> None:
    """Against an independent draw of inputs and a router, drawn as the model draws it, to 5%: it is only one router."""
    rms = expected_gate_rms(num_experts, router_init_scale=1.0)
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(20_000, 64, generator=generator)
    router = torch.nn.init.trunc_normal_(
        torch.empty(64, num_experts), std=1 / 8, a=-2 / 8, b=2 / 8, generator=generator
    )
    logits = inputs @ router
    measured = logits.softmax(dim=-1).amax(dim=-1).square().mean().sqrt().item()
    assert measured == pytest.approx(rms, rel=0.05)


def test_router_stays_in_float32_under_lower_precision() -> None:
    layer = switch_ffn(dtype=torch.bfloat16)
    y, routing = apply(layer, tokens(16, dtype=torch.bfloat16), capacity_factor=1.0)
    assert y.dtype == torch.bfloat16
    assert routing.gate_N.dtype == torch.float32
    assert routing.aux_loss.dtype == torch.float32


@pytest.mark.parametrize("router", ROUTERS)
def test_task_loss_alone_moves_a_router_that_learns(router: dict) -> None:
    layer = switch_ffn(**router)
    y, _ = apply(layer, tokens(16), capacity_factor=1.25)
    y.square().sum().backward()
    assert layer.w_router is None or layer.w_router.grad.abs().sum() > 0


def test_expert_dropout_needs_a_source_and_keeps_the_mean() -> None:
    layer = switch_ffn(expert_dropout=0.5, num_experts=1)
    x = tokens(1).expand(4000, 6)
    quiet, _ = apply(layer, x)
    noisy, _ = apply(layer, x, noise=torch.Generator().manual_seed(0))
    assert torch.equal(quiet, apply(layer, x)[0])
    assert not torch.equal(noisy, quiet)
    error = noisy.std(dim=0) / 4000**0.5
    assert ((noisy.mean(dim=0) - quiet[0]).abs() < 5 * error).all()


def test_the_choice_bias_pulls_toward_a_balanced_load() -> None:
    """A router that prefers one expert, balanced by the bias alone, to within its step."""
    layer = switch_ffn(balance="bias", balance_bias_rate=0.004)
    layer.w_router.data.mul_(0.3)
    x = tokens(400) + 3 * tokens(1, seed=9)
    loads = []
    for _ in range(200):
        _, routing = apply(layer, x)
        layer.update_choice_bias([routing])
        loads.append(routing.tokens_per_expert_EG.max().item() / 100)
    assert loads[0] > 1.8
    assert max(loads[-20:]) < 1.15


def test_shared_experts_serve_dropped_tokens_too() -> None:
    layer = switch_ffn(shared_experts=1)
    layer.w_router.data.zero_()
    layer.w_router.data[:, 2] = 10.0
    x = tokens(12).abs()
    y, _ = apply(layer, x, capacity_factor=1.0)
    torch.testing.assert_close(y[3:], layer.shared(x)[3:])
