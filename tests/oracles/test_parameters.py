"""Our parameters against the weights of transformers' models, to the last and per component."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from switchbench.cost import parameters_of
from switchbench.published import PUBLISHED
from switchbench.spec import Architecture
from tests.oracles import counterparts, shapes
from tests.oracles.weights import count_routed_experts, count_weights

pytestmark = pytest.mark.oracles

COMPONENTS = ("embedding", "attention", "dense_ffn", "experts", "router", "norm", "output")
Build = Callable[[Architecture], PreTrainedModel]

BUILT: dict[str, Build] = {
    **{name: counterparts.t5 for name in ("t5-base", "t5-large", "t5-xxl")},
    **{f"switch-base-{experts}": counterparts.switch_transformers for experts in (2, 4, 8, 16, 32, 64, 128, 256)},
    "switch-large-128": counterparts.switch_transformers,
    "mixtral-8x7b": counterparts.mixtral,
    "olmoe-1b-7b": counterparts.olmoe,
    "deepseekmoe-16b": counterparts.glm4_moe,
    "llama-2-7b": counterparts.llama,
    "llama-3-8b": counterparts.llama,
    **{f"megablocks-{size}": counterparts.gpt2 for size in ("xs", "small", "medium", "large", "xl")},
}
TOO_MANY_MODULES = {"switch-c-2048"}
"""Built with fewer layers than it has."""
NO_COUNTERPART = {"switch-xxl-128", "megablocks-xs-64", "megablocks-small-64", "megablocks-medium-64"}
"""Switch-XXL's experts are gated, GPT-2 has none."""


def test_every_published_model_is_compared_or_has_no_counterpart() -> None:
    """Clark et al. have Transformer-XL's attention, which transformers has dropped."""
    clark = {name for name in PUBLISHED if name.startswith("clark-")}
    assert set(BUILT) | TOO_MANY_MODULES | NO_COUNTERPART | clark == set(PUBLISHED)


@pytest.mark.parametrize("name", BUILT)
def test_published_models_have_as_many_weights(name: str) -> None:
    compare(PUBLISHED[name].architecture, BUILT[name])


def test_switch_c_has_as_many_weights() -> None:
    """From one and two layers in each stack: all behind the first are alike, and its 61,440 experts would take long."""
    whole = PUBLISHED["switch-c-2048"].architecture
    one, two = (
        count_weights(counterparts.on_paper(counterparts.switch_transformers, cut))
        for cut in (
            replace(whole, encoder_layers=n, decoder_layers=n, sparse_layers=2 * n, sparse_encoder_layers=n)
            for n in (1, 2)
        )
    )
    built = {name: one[name] + (whole.decoder_layers - 1) * (two[name] - one[name]) for name in two}
    counted = parameters_of(whole)
    assert {name: getattr(counted, name) for name in built} == built
    assert counted.total == sum(built.values())


@pytest.mark.parametrize(
    ("family", "build"),
    [
        (shapes.llama_shapes(), counterparts.llama),
        (shapes.mixtral_shapes(), counterparts.mixtral),
        (shapes.olmoe_shapes(), counterparts.olmoe),
        (shapes.glm4_moe_shapes(), counterparts.glm4_moe),
        (shapes.t5_shapes(), counterparts.t5),
        (shapes.switch_shapes(), counterparts.switch_transformers),
        (shapes.gpt2_shapes(), counterparts.gpt2),
    ],
    ids=["llama", "mixtral", "olmoe", "glm4_moe", "t5", "switch_transformers", "gpt2"],
)
def test_any_small_model_has_as_many_weights(family: st.SearchStrategy[Architecture], build: Build) -> None:
    @settings(deadline=None, max_examples=25)
    @given(architecture=family)
    def check(architecture: Architecture) -> None:
        compare(architecture, build)

    check()


def compare(architecture: Architecture, build: Build) -> None:
    """All components, what is idle, and the sum; GPT-2's biases and positions are no part of ours."""
    model = counterparts.on_paper(build, architecture)
    built, counted = count_weights(model), parameters_of(architecture)
    others = {name: built.pop(name) for name in ("bias", "positions") if name in built}
    assert bool(others) == (build is counterparts.gpt2)
    assert {name: getattr(counted, name) for name in COMPONENTS} == dict.fromkeys(COMPONENTS, 0) | built
    assert counted.total == model.num_parameters() - sum(others.values())
    idle = architecture.num_experts - architecture.top_k
    assert counted.inactive * architecture.num_experts == count_routed_experts(model) * idle
