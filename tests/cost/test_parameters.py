"""The arithmetic is compared with the built model: double entry."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.cost import count_parameters
from switchbench.model.transformer import Transformer
from switchbench.spec import ModelSpec
from tests.cost.strategies import models
from tests.specs import sparse, tiny_run


@settings(deadline=None, max_examples=60)
@given(model=models, vocab_size=st.integers(2, 50))
def test_parameters_equal_the_built_model(model: dict, vocab_size: int) -> None:
    spec = ModelSpec.model_validate(model)
    with torch.device("meta"):
        built = Transformer(spec, vocab_size=vocab_size)
    counted = count_parameters(spec, vocab_size=vocab_size)
    by_component = {"embedding": 0, "attention": 0, "dense_ffn": 0, "experts": 0, "router": 0, "norm": 0, "output": 0}
    for name, parameter in built.named_parameters():
        by_component[component_of(name, parameter)] += parameter.numel()
    assert {name: getattr(counted, name) for name in by_component} == by_component
    assert counted.total == sum(parameter.numel() for parameter in built.parameters())


def component_of(name: str, parameter: torch.Tensor) -> str:
    if parameter.ndim == 1:
        return "norm"
    if name in ("embedding", "output"):
        return name
    if ".attention." in name:
        return "attention"
    if name.endswith("w_router"):
        return "router"
    return "experts" if parameter.ndim == 3 or ".shared." in name else "dense_ffn"


@pytest.mark.parametrize("num_experts", [1, 2, 7])
def test_active_parameters_are_those_of_one_expert_per_sparse_layer(num_experts: int) -> None:
    spec = tiny_run(ffn=sparse(num_experts=num_experts))
    dense = tiny_run(ffn={"kind": "dense"})
    active = count_parameters(spec.model, vocab_size=256).active
    router = 16 * num_experts
    assert active == count_parameters(dense.model, vocab_size=256).total + router
