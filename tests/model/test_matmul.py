"""Products by either library against float64, and what keeps shapes steady."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from switchbench.model.dispatch import Experts, apply_experts
from switchbench.model.ffn import DenseFFN, SwitchFFN
from switchbench.model.matmul import SIZES_PER_OCTAVE, matmul, multiply, multiply_into, steady_size
from switchbench.model.router import route
from switchbench.spec import SparseFFNSpec


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("with_relu", [False, True])
def test_products_are_float32_exact_in_either_library(is_large: bool, with_relu: bool) -> None:
    """The error bound of a sum of K products in float32, K·ε·Σ|a·b|: lower precision would break it a thousandfold."""
    rows, inner, columns = (300, 256, 128) if is_large else (7, 5, 3)
    for transpose_a in (False, True):
        for transpose_b in (False, True):
            a = draw(inner, rows).t() if transpose_a else draw(rows, inner)
            b = draw(columns, inner, seed=1).t() if transpose_b else draw(inner, columns, seed=1)
            exact = a.double() @ b.double()
            bound = inner * torch.finfo(torch.float32).eps * (a.double().abs() @ b.double().abs())
            got = multiply(a, b, with_relu=with_relu)
            assert ((got.double() - (exact.relu() if with_relu else exact)).abs() <= bound).all()
            out = torch.empty(rows, columns)
            multiply_into(a, b, out=out)
            assert torch.equal(out.relu() if with_relu else out, got)


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (4, 128, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_matmul_equals_the_operator_in_output_and_gradients(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, w = draw(*shape, dtype=dtype).requires_grad_(), draw(shape[-1], 128, seed=1, dtype=dtype).requires_grad_()
    weights = draw(*shape[:-1], 128, seed=2, dtype=dtype)
    got, expected = matmul(x, w), x @ w
    torch.testing.assert_close(got, expected, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-4)
    gradients = torch.autograd.grad((got * weights).sum(), (x, w))
    for one, other in zip(gradients, torch.autograd.grad((expected * weights).sum(), (x, w)), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-3)


@given(st.integers(1, 10**6))
def test_steady_sizes_are_few_and_close(size: int) -> None:
    steady = steady_size(size)
    assert size <= steady <= max(size * (1 + 1 / SIZES_PER_OCTAVE), size + 1)
    assert steady_size(steady) == steady


def test_steady_sizes_of_an_octave() -> None:
    assert len({steady_size(size) for size in range(1025, 2049)}) == SIZES_PER_OCTAVE


@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_large_experts_with_uneven_loads_equal_autograd_on_plain_indexing(activation: str) -> None:
    """Loads that are rounded up: what fills them must count nowhere, token 0's gradient included."""
    spec = SparseFFNSpec(kind="sparse", d_ff=512, num_experts=4, activation=activation, capacity_factor=None)
    layer = SwitchFFN(spec, d_model=128, vocab_size=2)
    for index, parameter in enumerate(layer.parameters()):
        parameter.data.copy_(draw(*parameter.shape, seed=index) / parameter.shape[-2] ** 0.5)
    x = draw(601, 128, seed=9).requires_grad_()
    routing = route(x @ layer.w_router, spec=spec, group_tokens=601, capacity_factor=None)
    assert any(steady_size(load) != load for load in routing.kept_per_expert_E.tolist())
    experts = Experts(w_in_EDF=layer.w_in, w_gate_EDF=layer.w_gate, w_out_EFD=layer.w_out, activation=spec.activation)
    inputs = [x, *layer.parameters()]
    weights = draw(601, 128, seed=10)
    results = []
    for backend in ("loop", "padded"):
        y = apply_experts(x, routing=routing, experts=experts, gate_multiplier=1.0, backend=backend)
        results.append([y, *torch.autograd.grad((y * weights).sum(), inputs, retain_graph=True)])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu", "geglu"])
@pytest.mark.parametrize("num_tokens", [601, 1024])
def test_one_large_expert_is_the_dense_layer_to_the_bit(activation: str, num_tokens: int) -> None:
    spec = SparseFFNSpec(kind="sparse", d_ff=512, num_experts=1, activation=activation, capacity_factor=1.0)
    layer = SwitchFFN(spec, d_model=128, vocab_size=2)
    dense = DenseFFN(d_model=128, d_ff=512, activation=activation)
    torch.nn.init.zeros_(layer.w_router)
    for index, (name, parameter) in enumerate(dense.named_parameters()):
        parameter.data.copy_(draw(*parameter.shape, seed=index) / parameter.shape[0] ** 0.5)
        getattr(layer, name).data[0].copy_(parameter.data)
    x, y = (draw(num_tokens, 128, seed=9).requires_grad_() for _ in range(2))
    weights = draw(num_tokens, 128, seed=10)
    token_T = torch.zeros(num_tokens, dtype=torch.int64)
    sparse_out, _ = layer(x, token_T=token_T, group_tokens=num_tokens, capacity_factor=1.0)
    dense_out = dense(y)
    assert torch.equal(sparse_out, dense_out)
    (sparse_out * weights).sum().backward()
    (dense_out * weights).sum().backward()
    assert torch.equal(x.grad, y.grad)
    for name, parameter in dense.named_parameters():
        assert torch.equal(getattr(layer, name).grad[0], parameter.grad)
