"""Our forward FLOPs against torch's counter over transformers' models, to the last.

Both count 2 FLOPs per multiply-add of a matmul: projections, maps in full, feed-forward layers, the experts of each
token, routers, the output at every position. Theirs alone counts the angles of rotary positions, where a version of
transformers makes them by a matmul. Neither counts norms, activations, softmax, turning queries and keys by their
angles, lookups, sorting, and what is added up.

Whichever experts are hit, a token meets its top_k: the loop over them pads nothing, and computes what we count.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from switchbench.cost import forward_flops_of
from switchbench.spec import Architecture
from tests.oracles import counterparts, shapes

pytestmark = pytest.mark.oracles

Build = Callable[[Architecture], PreTrainedModel]
lengths = st.integers(1, 9)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Matmuls this small take longer on several threads, and very long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("family", "build"),
    [
        (shapes.llama_shapes(), counterparts.llama),
        (shapes.mixtral_shapes(), counterparts.mixtral),
        (shapes.olmoe_shapes(), counterparts.olmoe),
        (shapes.glm4_moe_shapes(), counterparts.glm4_moe),
    ],
    ids=["llama", "mixtral", "olmoe", "glm4_moe"],
)
def test_flops_of_decoders_equal_torchs_counter(family: st.SearchStrategy[Architecture], build: Build) -> None:
    @settings(deadline=None, max_examples=25)
    @given(architecture=family, length=lengths)
    def check(architecture: Architecture, length: int) -> None:
        counted = forward_flops_of(architecture, source_len=0, target_len=length).total.total
        model = build(architecture)
        angles = flops_of(model.model.rotary_emb, x=torch.ones(1), position_ids=torch.arange(length)[None])
        assert flops_of(model, input_ids=tokens(architecture, length), use_cache=False) == counted + angles

    check()


@pytest.mark.parametrize(
    ("family", "build"),
    [
        (shapes.t5_shapes(), counterparts.t5),
        (shapes.switch_shapes(), counterparts.switch_transformers),
    ],
    ids=["t5", "switch_transformers"],
)
def test_flops_of_encoders_and_decoders_equal_torchs_counter(
    family: st.SearchStrategy[Architecture], build: Build
) -> None:
    @settings(deadline=None, max_examples=25)
    @given(architecture=family, source_len=lengths, target_len=lengths)
    def check(architecture: Architecture, source_len: int, target_len: int) -> None:
        counted = forward_flops_of(architecture, source_len=source_len, target_len=target_len).total.total
        source, target = tokens(architecture, source_len), tokens(architecture, target_len)
        model = build(architecture)
        assert flops_of(model, input_ids=source, decoder_input_ids=target, use_cache=False) == counted

    check()


def flops_of(module: nn.Module, **inputs: Any) -> int:
    """Count a forward pass."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(**inputs)
    return counter.get_total_flops()


def tokens(architecture: Architecture, length: int) -> torch.Tensor:
    """One sequence of tokens, different ones, that experts may tell apart."""
    return (torch.arange(length) % architecture.vocab_size)[None]
