"""The arithmetic is compared with the built model and with torch's own counter: double entry."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from switchbench.cost import (
    computed_share,
    cost_of,
    count_forward_flops,
    count_parameters,
    count_train_flops,
    provisioned_over_useful,
)
from switchbench.model.transformer import Transformer, build_model
from switchbench.spec import ModelSpec
from tests.specs import sparse, tiny_run

activations = st.sampled_from(["relu", "gelu", "swiglu", "geglu"])
ffns = st.one_of(
    st.fixed_dictionaries({"kind": st.just("dense"), "activation": activations, "d_ff": st.integers(1, 40)}),
    st.fixed_dictionaries(
        {
            "kind": st.just("sparse"),
            "activation": activations,
            "d_ff": st.integers(1, 40),
            "num_experts": st.integers(1, 9),
            "switch_layer_frequency": st.sampled_from([0.25, 0.5, 0.75, 1.0]),
            "shared_experts": st.integers(0, 2),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("sparse"),
            "d_ff": st.integers(1, 40),
            "num_experts": st.integers(3, 9),
            "router": st.just("top_k"),
            "top_k": st.integers(2, 3),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("sparse"),
            "d_ff": st.integers(1, 40),
            "num_experts": st.integers(2, 9),
            "router": st.sampled_from(["hash", "expert_choice"]),
        }
    ),
)
models = st.fixed_dictionaries(
    {
        "d_model": st.integers(2, 24),
        "num_layers": st.integers(4, 6),
        "num_heads": st.integers(1, 4),
        "d_head": st.sampled_from([2, 4, 8]),
        "tied_output": st.booleans(),
        "ffn": ffns,
    }
)


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


@settings(deadline=None, max_examples=15)
@given(model=models, dropless=st.booleans())
def test_flops_equal_torchs_counter(model: dict, dropless: bool) -> None:
    """Forward and backward, under math attention and the matmul loop, kept assignments only."""
    spec = tiny_run(ffn=model["ffn"], model=model, data={"seq_len": 8}, train={"batch_tokens": 32})
    is_limited = model["ffn"].get("router") == "expert_choice" or not dropless
    capacity_factor = 0.5 if is_limited and model["ffn"]["kind"] == "sparse" else None
    built = build_model(spec)
    token_BS = torch.randint(0, 256, (4, 8), generator=torch.Generator().manual_seed(0))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = built(token_BS, capacity_factor=capacity_factor)
        forward = counter.get_total_flops()
        loss = F.cross_entropy(output.logits_BSV.flatten(0, 1), token_BS.flatten())
        (loss + sum(routing.aux_loss for routing in output.routings)).backward()
        total = counter.get_total_flops()
    counted = count_forward_flops(spec.model, vocab_size=256, seq_len=8)
    filled = sum(routing.token_N.shape[0] for routing in output.routings)
    share = computed_share(spec, computed_slots=filled, num_steps=1)
    assert forward == round(32 * (counted.total - counted.routed_experts * (1 - share)))
    train = count_train_flops(spec, num_steps=1, computed_share=share)
    assert total == round(train.executed)


def test_train_flops_by_hand() -> None:
    # Every layer sparse, 4 experts, 256 tokens: C = ceil(1.5·256/4) = 96, so 384 slots for 256 tokens.
    spec = tiny_run(ffn=sparse(capacity_factor=1.5, switch_layer_frequency=1.0, d_ff=10))
    experts = 3 * 2 * (2 * 16 * 10) * 2 * 256  # train x 2 per multiply-add x weights of an expert x layers x tokens
    rest = 3 * 256 * (2 * 2 * 4 * 16 * 16 + 4 * 2 * 16 * 32 + 2 * 2 * 16 * 4 + 2 * 256 * 16)
    flops = count_train_flops(spec, num_steps=1, computed_share=0.75)
    assert flops.useful == experts + rest
    assert flops.provisioned == 1.5 * experts + rest
    assert flops.executed == 0.75 * experts + rest
    every_slot = computed_share(spec, computed_slots=2 * 384, num_steps=1)
    padded = count_train_flops(spec, num_steps=1, computed_share=every_slot)
    assert padded.executed == padded.provisioned


def test_provisioned_equals_useful_without_capacity() -> None:
    assert provisioned_over_useful(tiny_run()) == 1
    assert provisioned_over_useful(tiny_run(ffn=sparse(capacity_factor=None))) == 1


def test_provisioned_counts_the_rounding_of_each_group() -> None:
    # Groups of 32 tokens and 5 experts: C = ceil(32/5) = 7, so 35 slots for 32 tokens.
    spec = tiny_run(ffn=sparse(num_experts=5, capacity_factor=1.0, routing_group_tokens=32))
    assert provisioned_over_useful(spec) == 35 / 32


def test_trained_flops_include_every_cooldown() -> None:
    spec = tiny_run(train={"tokens": 256 * 100})
    cost = cost_of(spec)
    # Trunk to step 80; cooldowns of 5, 10 and 20 steps.
    assert cost.trained_flops.useful / cost.train_flops.useful == pytest.approx(1.15)
