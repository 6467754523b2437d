"""Forward and backward of one feed-forward layer: dense, sparse by each backend, and the floor under the sparse ones.

Dense and sparse do equal FLOPs per token: the dense layer is as wide as one expert. Tokens are random, the router is a
fresh one, so that the load is nearly balanced; nothing is dropped; the router is part of the time. The floor is the
experts' matmuls alone, forward and backward, on the same routing, into buffers that are there already.

Axes: T tokens, E experts, D width, F hidden width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from switchbench.bench.interleave import WARM_UP_ROUNDS, median_ratio, time_columns, time_in_turns
from switchbench.device import synchronizer
from switchbench.errors import UsageError
from switchbench.model.dispatch import choose_backend
from switchbench.model.ffn import DenseFFN, SwitchFFN
from switchbench.spec import Backend, SparseFFNSpec

FFN_RATIO = 4
"""Hidden width over width."""


@dataclass(frozen=True, kw_only=True)
class LayerCase:
    """One shape, ready to be measured."""

    d_model: int
    """Width, D."""
    num_experts: int
    """Experts, E."""
    x_TD: Tensor
    """Tokens; their gradient is computed too, as within a model."""
    grad_TD: Tensor
    """Gradient of the output."""
    layers: dict[str, DenseFFN | SwitchFFN]
    """The dense layer, and the sparse one once per backend, with the same weights."""

    @property
    def contestants(self) -> dict[str, Callable[[], None]]:
        """A forward and backward pass of each, and the floor."""
        calls = {name: lambda layer=layer: self._pass(layer) for name, layer in self.layers.items()}
        return calls | {"floor": self._floor()}

    def _pass(self, layer: DenseFFN | SwitchFFN) -> None:
        for tensor in (self.x_TD, *layer.parameters()):
            tensor.grad = None
        run_layer(layer, self.x_TD).backward(self.grad_TD)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _floor(self) -> Callable[[], None]:
        layer = self.layers["loop"]
        assert isinstance(layer, SwitchFFN)
        routing = layer.route(
            self.x_TD, token_T=_no_tokens(self.x_TD), group_tokens=self.x_TD.shape[0], capacity_factor=None
        )
        x_ND, grad_ND = self.x_TD.detach()[routing.token_N], self.grad_TD[routing.token_N]
        return bare_matmuls(
            x_ND, grad_ND, layer.w_in.detach(), layer.w_out.detach(), sizes=routing.kept_per_expert_E.tolist()
        )


def layer_case(
    *, d_model: int, num_experts: int, num_tokens: int, device: torch.device, dtype: torch.dtype
) -> LayerCase:
    """Make the layers of one shape.

    Args:
        d_model: Width, D.
        num_experts: Experts, E.
        num_tokens: Tokens, T.
        device: Where they live.
        dtype: Of weights and tokens; the router works in float32 at least.
    """
    generator = torch.Generator().manual_seed(0)
    d_ff = FFN_RATIO * d_model
    spec = SparseFFNSpec(kind="sparse", d_ff=d_ff, num_experts=num_experts, capacity_factor=None)
    layers: dict[str, DenseFFN | SwitchFFN] = {"dense": DenseFFN(d_model=d_model, d_ff=d_ff, activation="relu")}
    for backend in get_args(Backend):
        try:
            choose_backend(backend, device=device, dtype=dtype, d_model=d_model, d_ff=d_ff)
        except UsageError:
            continue
        layers[backend] = SwitchFFN(spec, d_model=d_model, vocab_size=2, dispatch=backend)
    for parameter in [*layers["dense"].parameters(), *layers["loop"].parameters()]:
        torch.nn.init.normal_(parameter, std=parameter.shape[-2] ** -0.5, generator=generator)
    for layer in layers.values():
        layer.to(device, dtype)
        if isinstance(layer, SwitchFFN):
            # One set of weights for all: what differs is how they are multiplied.
            layer.w_router, layer.w_in, layer.w_out = (
                getattr(layers["loop"], name) for name in ("w_router", "w_in", "w_out")
            )
    x_TD, grad_TD = torch.randn(2, num_tokens, d_model, generator=generator).to(device, dtype)
    return LayerCase(
        d_model=d_model, num_experts=num_experts, x_TD=x_TD.clone().requires_grad_(), grad_TD=grad_TD, layers=layers
    )


def run_layer(layer: DenseFFN | SwitchFFN, x_TD: Tensor) -> Tensor:
    """Forward pass, dropless."""
    if isinstance(layer, DenseFFN):
        return layer(x_TD)  # type: ignore[no-any-return]
    y_TD: Tensor
    y_TD, _ = layer(x_TD, token_T=_no_tokens(x_TD), group_tokens=x_TD.shape[0], capacity_factor=None)
    return y_TD


def bare_matmuls(
    x_ND: Tensor, grad_ND: Tensor, w_in_EDF: Tensor, w_out_EFD: Tensor, *, sizes: list[int]
) -> Callable[[], None]:
    """Give the call that does the experts' six matmuls on sorted tokens and nothing else.

    Args:
        x_ND: Sorted tokens.
        grad_ND: Gradient of the answers.
        w_in_EDF: First matrices.
        w_out_EFD: Last matrices.
        sizes: Tokens of each expert.
    """
    hidden_NF = x_ND.new_empty(x_ND.shape[0], w_in_EDF.shape[2])
    grad_hidden_NF, y_ND, grad_x_ND = torch.empty_like(hidden_NF), torch.empty_like(x_ND), torch.empty_like(x_ND)
    grad_w_in_EDF, grad_w_out_EFD = torch.zeros_like(w_in_EDF), torch.zeros_like(w_out_EFD)
    split = [torch.split(tensor, sizes) for tensor in (x_ND, hidden_NF, y_ND, grad_ND, grad_hidden_NF, grad_x_ND)]
    experts = [
        (w_in_EDF[e], w_out_EFD[e], grad_w_in_EDF[e], grad_w_out_EFD[e], *(parts[e] for parts in split))
        for e, size in enumerate(sizes)
        if size
    ]

    def multiply() -> None:
        for w_in, w_out, _, _, x, hidden, y, _, _, _ in experts:
            torch.mm(x, w_in, out=hidden)
            torch.mm(hidden, w_out, out=y)
        for w_in, w_out, grad_w_in, grad_w_out, x, hidden, _, grad, grad_hidden, grad_x in experts:
            torch.mm(hidden.T, grad, out=grad_w_out)
            torch.mm(grad, w_out.T, out=grad_hidden)
            torch.mm(x.T, grad_hidden, out=grad_w_in)
            torch.mm(grad_hidden, w_in.T, out=grad_x)

    return multiply


def measure_layer_case(case: LayerCase, *, rounds: int, on_progress: Callable[[float], None]) -> list[dict[str, Any]]:
    """Measure one shape.

    Args:
        case: The shape.
        rounds: Counted rounds.
        on_progress: Called with the share of the rounds that are done.

    Returns:
        One row per contestant; ratios are medians of the rounds' ratios.
    """
    device, done = case.x_TD.device, 0

    def count() -> None:
        nonlocal done
        done += 1
        on_progress(done / (rounds + WARM_UP_ROUNDS))

    times_s = time_in_turns(case.contestants, rounds=rounds, synchronize=synchronizer(device), on_round=count)
    d_ff = FFN_RATIO * case.d_model
    auto = choose_backend("auto", device=device, dtype=case.x_TD.dtype, d_model=case.d_model, d_ff=d_ff)
    return [
        {
            "d_model": case.d_model,
            "num_experts": case.num_experts,
            "d_ff": d_ff,
            "num_tokens": case.x_TD.shape[0],
            "backend": name,
            "is_auto": name == auto,
            **time_columns(times),
            "over_dense": median_ratio(times, times_s["dense"]),
            "over_floor": median_ratio(times, times_s["floor"]),
        }
        for name, times in times_s.items()
    ]


def _no_tokens(x_TD: Tensor) -> Tensor:
    """Token ids, which only a hash router looks at."""
    return torch.zeros(x_TD.shape[0], dtype=torch.int64, device=x_TD.device)
