"""Training FLOPs, by hand."""

import pytest

from switchbench.cost import computed_share, cost_of, count_train_flops, provisioned_over_useful
from tests.specs import sparse, tiny_run


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
