"""The decoder-only pre-norm Transformer, and its initialization.

Axes: B sequences, S positions, T = B·S tokens, D width, V vocabulary.
"""

import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from switchbench.model.attention import Attention, rotation
from switchbench.model.ffn import DenseFFN, SwitchFFN
from switchbench.model.norm import rms_norm
from switchbench.model.router import Routing
from switchbench.spec import Dispatch, ModelSpec, Precision, RunSpec, SparseFFNSpec


@dataclass(frozen=True, kw_only=True)
class ModelOutput:
    """What a forward pass gives."""

    logits_BSV: Tensor
    """Logits of the next token."""
    routings: tuple[Routing, ...]
    """What the router of each sparse layer decided, from the bottom up; empty for a dense model."""


class Block(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)).

    Args:
        spec: The model.
        vocab_size: Vocabulary, V.
        is_sparse: Whether the feed-forward layer is the sparse one.
        dispatch: How experts are computed.
    """

    def __init__(self, spec: ModelSpec, *, vocab_size: int, is_sparse: bool, dispatch: Dispatch) -> None:
        super().__init__()
        self.attention_norm_scale = nn.Parameter(torch.ones(spec.d_model))
        self.attention = Attention(d_model=spec.d_model, num_heads=spec.num_heads, d_head=spec.d_head)
        self.ffn_norm_scale = nn.Parameter(torch.ones(spec.d_model))
        self.ffn: DenseFFN | SwitchFFN
        if is_sparse and isinstance(spec.ffn, SparseFFNSpec):
            self.ffn = SwitchFFN(spec.ffn, d_model=spec.d_model, vocab_size=vocab_size, dispatch=dispatch)
        else:
            d_ff = spec.ffn.active_d_ff if isinstance(spec.ffn, SparseFFNSpec) else spec.ffn.d_ff
            self.ffn = DenseFFN(d_model=spec.d_model, d_ff=d_ff, activation=spec.ffn.activation)

    def forward(
        self,
        x_BSD: Tensor,
        *,
        rotation_SP: Tensor,
        token_BS: Tensor,
        capacity_factor: float | None,
        group_tokens: int,
        noise: torch.Generator | None,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, Routing | None]:
        """Transform the residual stream, in ``dtype`` between norm and sum; the rest as in ``Transformer.forward``."""
        routing = None
        normed_BSD = rms_norm(x_BSD, self.attention_norm_scale, dtype=dtype)
        x_BSD = x_BSD + self.attention(normed_BSD, rotation_SP)
        normed_TD = rms_norm(x_BSD, self.ffn_norm_scale, dtype=dtype).flatten(0, 1)
        if isinstance(self.ffn, SwitchFFN):
            y_TD, routing = self.ffn(
                normed_TD,
                token_T=token_BS.flatten(),
                group_tokens=group_tokens,
                capacity_factor=capacity_factor,
                noise=noise,
            )
        else:
            y_TD = self.ffn(normed_TD)
        return x_BSD + y_TD.view_as(x_BSD), routing


class Transformer(nn.Module):
    """A language model; it keeps no state between calls.

    The embedding is multiplied by sqrt(D), so that with σ = sqrt(s/D) the residual stream starts at rms sqrt(s) and the
    tied output projection gives logits of about unit variance.

    Args:
        spec: The model.
        vocab_size: Vocabulary, V.
        dispatch: How experts are computed.
        precision: Of matmuls, attention and experts. Weights, the residual stream, norms, routers and logits stay as
            wide as the weights are, and so do all gradients of weights.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        vocab_size: int,
        dispatch: Dispatch = "auto",
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.spec, self.precision = spec, precision
        self.embedding = nn.Parameter(torch.empty(vocab_size, spec.d_model))
        sparse_layers = spec.sparse_layers
        self.blocks = nn.ModuleList(
            Block(spec, vocab_size=vocab_size, is_sparse=index in sparse_layers, dispatch=dispatch)
            for index in range(spec.num_layers)
        )
        self.final_norm_scale = nn.Parameter(torch.ones(spec.d_model))
        self.output = None if spec.tied_output else nn.Parameter(torch.empty(spec.d_model, vocab_size))

    def forward(
        self,
        token_BS: Tensor,
        *,
        capacity_factor: float | None,
        group_tokens: int | None = None,
        noise: torch.Generator | None = None,
    ) -> ModelOutput:
        """Predict the next token at every position.

        Args:
            token_BS: Tokens, int64.
            capacity_factor: Limits the experts of sparse layers; None: dropless.
            group_tokens: Tokens routed together; None: all T.
            noise: Source of router jitter and expert dropout; None: neither (evaluation).
        """
        group_tokens = group_tokens or token_BS.numel()
        dtype = torch.bfloat16 if self.precision == "bfloat16" else None
        rotation_SP = rotation(token_BS.shape[1], d_head=self.spec.d_head, device=token_BS.device)
        x_BSD = F.embedding(token_BS, self.embedding) * self.spec.d_model**0.5
        routings = []
        for block in self.blocks:
            x_BSD, routing = block(
                x_BSD,
                rotation_SP=rotation_SP,
                token_BS=token_BS,
                capacity_factor=capacity_factor,
                group_tokens=group_tokens,
                noise=noise,
                dtype=dtype,
            )
            if routing is not None:
                routings.append(routing)
        x_BSD = rms_norm(x_BSD, self.final_norm_scale, dtype=dtype)
        w_output_DV = self.embedding.T if self.output is None else self.output
        logits_BSV = (x_BSD @ w_output_DV.to(x_BSD.dtype)).to(self.embedding.dtype)
        return ModelOutput(logits_BSV=logits_BSV, routings=tuple(routings))

    def update_choice_biases(self, routings: tuple[Routing, ...]) -> None:
        """Adapt the routers that are balanced by a bias; the others stay as they are.

        Args:
            routings: What the routers decided in the step just taken, from the bottom up, micro-batch after
                micro-batch.
        """
        if not isinstance(self.spec.ffn, SparseFFNSpec) or self.spec.ffn.balance != "bias":
            return
        layers = [module for module in self.modules() if isinstance(module, SwitchFFN)]
        for index, layer in enumerate(layers):
            layer.update_choice_bias(routings[index :: len(layers)])


def build_model(spec: RunSpec, *, dispatch: Dispatch = "auto") -> Transformer:
    """Build and initialize the model of a run, on the CPU.

    Args:
        spec: The run; its seed decides the weights.
        dispatch: How experts are computed.
    """
    model = Transformer(spec.model, vocab_size=spec.vocab_size, dispatch=dispatch, precision=spec.train.precision)
    initialize(model, seed=spec.random_seed)
    return model


@torch.no_grad()
def initialize(model: Transformer, *, seed: int) -> None:
    """Draw every matrix from a truncated normal, σ = sqrt(s/fan_in), cut at 2σ; norm scales stay 1.

    s is ``init_scale``, for routers ``router_init_scale``. The fan-in of the embedding is D. A hash router's table is
    drawn uniformly. A weight depends on the seed and on its own name alone, and expert e > 0 has a name of its own,
    while expert 0 bears the dense layer's: so a sparse model and its dense twin share attention and embedding to the
    bit, expert 0 is the dense layer (where the two are equally wide), and no expert depends on E.

    Args:
        model: Changed in place; on the CPU.
        seed: Seed of the run.

    Source:
        Switch Transformer §2.4 (σ is the deviation before the cut, as there).
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            continue
        scale = model.spec.init_scale
        if name.endswith("w_router") and isinstance(model.spec.ffn, SparseFFNSpec):
            scale = model.spec.ffn.router_init_scale
        if parameter.ndim == 3:  # one matrix per expert
            for expert, matrix in enumerate(parameter):
                _draw(matrix, fan_in=matrix.shape[0], scale=scale, seed=seed, name=expert_name(name, expert))
        else:
            fan_in = parameter.shape[1] if name == "embedding" else parameter.shape[0]
            _draw(parameter, fan_in=fan_in, scale=scale, seed=seed, name=name)
    for name, buffer in model.named_buffers():
        if name.endswith("expert_of_token_V") and isinstance(model.spec.ffn, SparseFFNSpec):
            buffer.random_(0, model.spec.ffn.num_experts, generator=_generator(seed=seed, name=name))


def expert_name(name: str, expert: int) -> str:
    """Name that an expert's matrix is drawn under; expert 0 takes the dense layer's."""
    return name if expert == 0 else f"{name}[{expert}]"


def _draw(matrix: Tensor, *, fan_in: int, scale: float, seed: int, name: str) -> None:
    deviation = (scale / fan_in) ** 0.5
    generator = _generator(seed=seed, name=name)
    nn.init.trunc_normal_(matrix, std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator)


def _generator(*, seed: int, name: str) -> torch.Generator:
    """Give every name random numbers of its own."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
