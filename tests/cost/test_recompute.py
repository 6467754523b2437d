"""Recomputation, which is for planning alone: compared with PyTorch's checkpoints around our blocks."""

from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from switchbench.cost import memory_of
from switchbench.model.transformer import Block, build_model
from switchbench.spec import RunSpec, SparseFFNSpec, architecture_of
from switchbench.train.steps import mean_nll
from tests.cost.kept import kept_storages, num_bytes
from tests.specs import sparse, tiny_run


class Recomputed(torch.nn.Module):
    """Keeps what a block was given, and computes it again in the backward pass."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x_BSD: torch.Tensor, **arguments: Any) -> Any:
        return checkpoint(self.block, x_BSD, use_reentrant=False, **arguments)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("ffn", [None, sparse(activation="swiglu", capacity_factor=None)])
def test_a_recomputed_block_keeps_its_input_alone(ffn: dict[str, Any] | None, precision: str) -> None:
    spec = tiny_run(ffn=ffn, train={"precision": precision})
    architecture = architecture_of(spec.model, vocab_size=spec.vocab_size)
    lengths = {"sequences": 8, "source_len": 0, "target_len": 32, "precision": precision}
    counted = memory_of(architecture, recompute=True, **lengths)
    whole = memory_of(architecture, **lengths)
    assert counted.activations.residual == 2 * 256 * 16 * 4
    # The table of rotations is given to every block: the checkpoint holds it, but does not store it for itself.
    assert counted.activations.total == stored(spec) + 32 * 8 * 4
    assert counted.activations.total < whole.activations.total
    assert counted.peak < whole.peak


def stored(spec: RunSpec) -> int:
    """Bytes that live on for the backward pass; a sparse block's losses live on too, but are scalars."""
    model = build_model(spec, dispatch="loop")
    for index, block in enumerate(model.blocks):
        model.blocks[index] = Recomputed(block)
    token_BS = torch.randint(0, spec.vocab_size, (8, 32), generator=torch.Generator().manual_seed(0))

    def compute() -> torch.Tensor:
        is_sparse = isinstance(spec.model.ffn, SparseFFNSpec)
        output = model(token_BS, capacity_factor=spec.model.ffn.capacity_factor if is_sparse else None)
        return mean_nll(output.logits_BSV.flatten(0, 1), token_BS.flatten())

    return num_bytes(kept_storages(compute, given=[*model.parameters(), token_BS]))
