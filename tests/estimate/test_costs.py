"""What models cost, by name, against the published figures and against hand computation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.cost import cost_of, count_memory, count_parameters, provisioned_over_useful
from switchbench.errors import UsageError
from switchbench.estimate import Estimate, Request, estimate, estimates_json
from switchbench.published import PUBLISHED
from switchbench.spec import DataIdentity, DataSpec, ModelSpec

NAMES = ["xs", "xs-16", "t5-base", "switch-base-8", "switch-c-2048", "mixtral-8x7b", "deepseekmoe-16b"]


def identify(data: DataSpec) -> DataIdentity:
    return DataIdentity(fingerprint="no corpus here", vocab_size=256)


def of(*asked: str, **request: object) -> tuple[Estimate, ...]:
    return estimate(asked, identify=identify, request=Request(**request))


def test_table_9_under_the_papers_convention() -> None:
    dense, sparse, huge = of("t5-base", "switch-base-128", "switch-c-2048", convention="paper")
    assert dense.parameters.total == 222_903_552
    assert round(dense.forward_flops_per_sequence / 1e9, 2) == 124.45
    assert sparse.forward_flops_per_sequence == dense.forward_flops_per_sequence
    assert huge.parameters.total == 1_571_308_972_448
    assert round(huge.forward_flops_per_sequence / 1e9, 1) == 893.6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_components_add_up(name: str, recompute: bool, precision: str) -> None:
    (row,) = estimates_json(of(name, recompute=recompute, precision=precision))["models"]
    flops, activations = row["forward_flops_per_token_by_component"], row["activation_bytes_by_component"]
    assert sum(flops.values()) == pytest.approx(row["forward_flops_per_token"])
    inactive = row["parameters"].pop("inactive")
    assert sum(row["parameters"].values()) == row["params_total"] == row["params_active"] + inactive
    memory = row["memory_bytes"]
    assert sum(activations.values()) == memory["activations"]
    assert (memory["logits"], memory["dispatch"]) == (activations["logits"], activations["dispatch"])
    assert memory["weights"] == memory["gradients"] == memory["optimizer"] / 2 == 4 * row["params_total"]
    state = memory["weights"] + memory["gradients"] + memory["optimizer"]
    parts = state + memory["activations"] + memory["held"]
    assert state <= memory["peak"]
    if not recompute:  # what is computed again is none of these
        assert memory["peak"] <= parts + memory["temporary"] + memory["allocator"] + memory["kernels"]
    assert row["forward_flops_per_sequence"] == pytest.approx(row["forward_flops_per_token"] * row["sequence_tokens"])
    assert row["train_flops_per_token"] == 3 * row["forward_flops_per_token"]


def test_a_size_is_the_model_that_a_sweep_trains() -> None:
    (small,) = of("s-4")
    model = ModelSpec.model_validate({"size": "s", "ffn": {"kind": "sparse", "num_experts": 4}})
    assert small.parameters == count_parameters(model, vocab_size=256)
    assert small.subject.spec is not None
    assert small.flops_by_component == cost_of(small.subject.spec).forward_flops_per_token
    assert small.memory == count_memory(small.subject.spec)


def test_provisioned_flops_by_hand() -> None:
    """128 tokens, 16 experts, capacity factor 1.25: 10 slots each, so 160 for 128 tokens."""
    (sparse, dense) = of("xs-16", "xs")
    assert sparse.flops_by_component is not None
    padding = (160 - 128) / 128 * sparse.flops_by_component.routed_experts
    assert sparse.provisioned_forward_flops_per_token == sparse.forward_flops_per_token + padding
    assert dense.provisioned_forward_flops_per_token == dense.forward_flops_per_token


def test_rounding_of_capacity_depends_on_the_batch() -> None:
    """256 tokens of 16 experts make 20 slots each, 128 tokens of 48 experts 4 each: 192 for 128."""
    (wide,) = of("xs-16", batch_tokens=256)
    assert wide.provisioned_over_useful == 20 * 16 / 256
    (narrow,) = of("xs-48")
    assert narrow.provisioned_over_useful == 4 * 48 / 128


def test_what_is_not_known_is_none() -> None:
    sparse, dense = of("switch-base-8", "t5-base")
    assert sparse.provisioned_forward_flops_per_token is None  # its capacity factor is no part of the architecture
    assert dense.provisioned_forward_flops_per_token == dense.forward_flops_per_token
    (by_the_paper,) = of("t5-base", convention="paper")
    assert by_the_paper.flops_by_component is by_the_paper.provisioned_forward_flops_per_token is None
    assert by_the_paper.devices is None


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(["xs", "t5-base", "switch-base-8", "mixtral-8x7b"]),
    sequences=st.integers(1, 6),
    precision=st.sampled_from(["float32", "bfloat16"]),
)
def test_more_tokens_take_more_and_recomputation_keeps_less(name: str, sequences: int, precision: str) -> None:
    (one,) = of(name)
    tokens = one.subject.sequence_tokens
    (some,) = of(name, batch_tokens=sequences * tokens, precision=precision)
    (more,) = of(name, batch_tokens=(sequences + 1) * tokens, precision=precision)
    (less,) = of(name, batch_tokens=sequences * tokens, precision=precision, recompute=True)
    assert some.memory.activations.total < more.memory.activations.total
    assert some.memory.peak <= more.memory.peak
    assert less.memory.activations.total < some.memory.activations.total
    assert some.parameters == more.parameters == less.parameters == one.parameters
    assert some.forward_flops_per_token == one.forward_flops_per_token


def test_more_experts_take_more_and_cost_the_router_alone() -> None:
    few, many = of("switch-base-64", "switch-base-128")
    assert few.memory.peak < many.memory.peak
    assert few.parameters.total < many.parameters.total
    router = 2 * 768 * 64 * 12 / 2  # 64 more logits in 12 layers, 6 of them in each stack
    assert many.forward_flops_per_token - few.forward_flops_per_token == pytest.approx(router, rel=1e-6)


def test_bfloat16_halves_what_matmuls_keep_and_leaves_the_state() -> None:
    (wide,), (narrow,) = of("mixtral-8x7b"), of("mixtral-8x7b", precision="bfloat16")
    assert narrow.memory.weights == wide.memory.weights
    assert narrow.memory.activations.experts * 2 == wide.memory.activations.experts
    assert narrow.memory.activations.weight_copies > 0 == wide.memory.activations.weight_copies


@pytest.mark.parametrize(
    ("name", "tokens", "message"),
    [
        ("t5-base", 1000, r"626 tokens \(512 source and 114 target\); the nearest is 626 or 1252"),
        ("mixtral-8x7b", 1000, r"'mixtral-8x7b' has 2048 tokens; the nearest is 2048$"),
    ],
)
def test_tokens_that_are_no_whole_sequences_are_refused(name: str, tokens: int, message: str) -> None:
    with pytest.raises(UsageError, match=f"--batch-tokens {tokens} is no whole number of sequences.*{message}"):
        of(name, batch_tokens=tokens)


def test_the_papers_convention_is_for_its_models_alone() -> None:
    with pytest.raises(UsageError, match="'llama-3-8b' is none; use --convention ours"):
        of("t5-base", "llama-3-8b", convention="paper")


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_published_model_can_be_laid_out(name: str) -> None:
    (each,) = of(name, num_devices=16, device_memory_bytes=80 * 2**30)
    assert each.subject.source
    assert each.devices is not None
    assert each.devices.all_to_all is not None
    assert (each.devices.all_to_all.sent_bytes > 0) == (each.subject.architecture.sparse_layers > 0)


def test_provisioned_counts_as_the_run_does() -> None:
    (sparse,) = of("xxs-4", batch_tokens=1280)
    spec = sparse.subject.spec
    assert spec is not None
    trained = spec.model_copy(update={"train": spec.train.model_copy(update={"batch_tokens": 1280})})
    assert sparse.provisioned_over_useful == provisioned_over_useful(trained)
