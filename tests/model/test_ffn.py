"""The Switch layer against a loop over tokens, in output and in every gradient, and against the dense layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.model.ffn import DenseFFN, SwitchFFN, activate, expected_gate_rms
from switchbench.spec import DenseFFNSpec, SparseFFNSpec, expert_capacity

ACTIVATIONS = ["relu", "gelu", "swiglu", "geglu"]


def switch_ffn(*, d_model: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64, **fields: object) -> SwitchFFN:
    spec = SparseFFNSpec.model_validate({"kind": "sparse", "d_ff": 5, "num_experts": 4} | fields)
    layer = SwitchFFN(spec, d_model=d_model).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    return layer


def tokens(num_tokens: int, *, d_model: int = 6, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(num_tokens, d_model, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def forward_slowly(layer: SwitchFFN, x: torch.Tensor, *, group_tokens: int, capacity_factor: float | None):
    """One token after the other, by plain indexing; differentiable by autograd alone."""
    num_experts = layer.spec.num_experts
    capacity = expert_capacity(group_tokens, num_experts=num_experts, capacity_factor=capacity_factor)
    rows = []
    for token in range(x.shape[0]):
        if token % group_tokens == 0:
            used = [0] * num_experts
        probabilities = (x[token] @ layer.w_router).softmax(dim=-1)
        expert = int(probabilities.argmax())
        if used[expert] >= capacity:
            rows.append(torch.zeros_like(x[token]))
            continue
        used[expert] += 1
        gate = None if layer.w_gate is None else x[token] @ layer.w_gate[expert]
        hidden = activate(x[token] @ layer.w_in[expert], gate, activation=layer.spec.activation)
        rows.append(probabilities[expert] * layer.gate_multiplier * (hidden @ layer.w_out[expert]))
    return torch.stack(rows)


@settings(deadline=None, max_examples=40)
@given(
    activation=st.sampled_from(ACTIVATIONS),
    num_experts=st.integers(1, 6),
    num_groups=st.integers(1, 3),
    group_tokens=st.integers(1, 8),
    capacity_factor=st.sampled_from([None, 0.5, 1.0, 1.25]),
    gate_scale=st.sampled_from(["paper", "unit_at_init"]),
    seed=st.integers(0, 2**16),
)
def test_equals_a_loop_over_tokens_in_output_and_gradients(
    activation: str,
    num_experts: int,
    num_groups: int,
    group_tokens: int,
    capacity_factor: float | None,
    gate_scale: str,
    seed: int,
) -> None:
    layer = switch_ffn(activation=activation, num_experts=num_experts, gate_scale=gate_scale, seed=seed)
    x = tokens(num_groups * group_tokens, seed=seed + 1).requires_grad_()
    inputs = [x, *layer.parameters()]
    weights = tokens(x.shape[0], seed=seed + 2)
    fast, _ = layer(x, group_tokens=group_tokens, capacity_factor=capacity_factor)
    slow = forward_slowly(layer, x, group_tokens=group_tokens, capacity_factor=capacity_factor)
    torch.testing.assert_close(fast, slow)
    fast_gradients = torch.autograd.grad((fast * weights).sum(), inputs)
    slow_gradients = torch.autograd.grad((slow * weights).sum(), inputs, materialize_grads=True)
    for got, expected in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_expert_is_the_dense_layer_to_the_bit(activation: str, dtype: torch.dtype) -> None:
    layer = switch_ffn(activation=activation, num_experts=1, dtype=dtype)
    dense = DenseFFN(DenseFFNSpec(kind="dense", d_ff=5, activation=activation), d_model=6).to(dtype)
    for name, parameter in dense.named_parameters():
        parameter.data.copy_(getattr(layer, name)[0])
    x, y = tokens(40, dtype=dtype).requires_grad_(), tokens(40, dtype=dtype).requires_grad_()
    weights = tokens(40, seed=3, dtype=dtype)
    sparse_out, _ = layer(x, group_tokens=40, capacity_factor=1.0)
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
    y, routing = layer(x, group_tokens=12, capacity_factor=1.0)
    assert routing.kept_per_expert_E.tolist() == [0, 0, 3, 0]
    assert torch.equal(y[3:], torch.zeros_like(y[3:]))
    assert (y[:3] != 0).any(dim=1).all()


def test_empty_experts_get_zero_gradients() -> None:
    layer = switch_ffn(num_experts=4)
    layer.w_router.data.zero_()
    layer.w_router.data[:, 1] = 10.0
    y, _ = layer(tokens(8).abs(), group_tokens=8, capacity_factor=None)
    y.sum().backward()
    for parameter in (layer.w_in, layer.w_out):
        assert [bool(gradient.any()) for gradient in parameter.grad] == [False, True, False, False]


def test_task_loss_alone_moves_the_router() -> None:
    layer = switch_ffn()
    y, _ = layer(tokens(16), group_tokens=16, capacity_factor=1.25)
    y.square().sum().backward()
    assert layer.w_router.grad.abs().sum() > 0


def test_jitter_touches_the_router_alone_and_needs_a_source() -> None:
    layer = switch_ffn(router_jitter=0.5)
    x = tokens(64)
    quiet, _ = layer(x, group_tokens=64, capacity_factor=None)
    again, _ = layer(x, group_tokens=64, capacity_factor=None)
    assert torch.equal(quiet, again)
    noisy, routing = layer(x, group_tokens=64, capacity_factor=None, jitter=torch.Generator().manual_seed(0))
    assert not torch.equal(noisy, quiet)
    # What an expert computed is its output for the clean token times the noisy gate.
    experts = torch.repeat_interleave(torch.arange(4), routing.kept_per_expert_E)
    for expert, token, gate in zip(experts, routing.kept_tokens_N, routing.gate_N, strict=True):
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
    y, routing = layer(tokens(16, dtype=torch.bfloat16), group_tokens=16, capacity_factor=1.0)
    assert y.dtype == torch.bfloat16
    assert routing.gate_N.dtype == torch.float32
    assert routing.aux_loss.dtype == torch.float32
