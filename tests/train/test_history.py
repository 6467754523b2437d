"""Windows and paths against plain sums."""

import math

import pytest
import torch

from switchbench.model.router import route
from switchbench.spec import SparseFFNSpec
from switchbench.train.history import Path, Window

SPEC = SparseFFNSpec(kind="sparse", d_ff=4, num_experts=4)


def routings(seed: int, *, capacity_factor: float | None = 1.0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        route(torch.randn(32, 4, generator=generator), spec=SPEC, group_tokens=32, capacity_factor=capacity_factor)
        for _ in range(2)
    )


def walk(path: Path, seeds: range) -> None:
    for seed in seeds:
        path.add_routings(routings(seed), seq_len=16)
        path.add_steps([float(seed)], gradient_norms=[2.0 * seed], time_s=0.5)


def test_a_window_averages_over_steps_and_keeps_layers_apart() -> None:
    path = Path()
    walk(path, range(3))
    counts = torch.stack(
        [torch.stack([r.tokens_per_expert_EG.sum(dim=1) for r in routings(seed)]) for seed in range(3)]
    )
    window = path.window
    assert window.train_nll == 1.0
    assert window.gradient_norm == 2.0
    torch.testing.assert_close(window.routing_columns["expert_load"], counts.sum(0) / (3 * 32))
    spreads = [[float(load.float().std(correction=0) / load.float().mean()) for load in step] for step in counts]
    assert window.routing_columns["expert_load_cv"].tolist() == pytest.approx(torch.tensor(spreads).mean(0).tolist())
    pooled = [float(load.std(correction=0) / load.mean()) for load in counts.sum(0) / 96]
    assert window.routing_columns["expert_load_cv_pooled"].tolist() == pytest.approx(pooled)
    entropies = [[r.entropy.item() for r in routings(seed)] for seed in range(3)]
    assert window.routing_columns["router_entropy"].tolist() == pytest.approx(
        [sum(layer) / 3 for layer in zip(*entropies, strict=True)]
    )


def test_windows_add_up() -> None:
    whole, parts = Path(), Path()
    walk(whole, range(5))
    walk(parts, range(2))
    parts.close_window()
    walk(parts, range(2, 5))
    together = parts.since_branch + parts.window
    assert together.num_steps == whole.window.num_steps == 5
    assert together.train_nll == whole.window.train_nll
    for name, values in whole.window.routing_columns.items():
        torch.testing.assert_close(together.routing_columns[name], values)


def test_a_branch_leaves_the_trunk_as_it_is() -> None:
    trunk = Path()
    walk(trunk, range(2))
    branch = trunk.branch()
    walk(branch, range(2, 6))
    assert (trunk.step, branch.step) == (2, 6)
    assert (trunk.train_time_s, branch.train_time_s) == (1.0, 3.0)
    assert (len(trunk.kept), len(branch.kept)) == (2, 6)
    assert trunk.window.num_steps == 2
    assert branch.window.num_steps == 4


def test_dropped_and_utilization_over_the_last_steps() -> None:
    path = Path()
    walk(path, range(8))
    kept = [sum(r.token_N.shape[0] for r in routings(seed)) for seed in range(8)]
    assert path.dropped_token_fraction() == pytest.approx(1 - sum(kept) / (8 * 64))
    assert path.dropped_token_fraction(last_steps=2) == pytest.approx(1 - sum(kept[-2:]) / (2 * 64))
    assert path.capacity_utilization(last_steps=2) == pytest.approx(sum(kept[-2:]) / (2 * 2 * 4 * 8))


def test_a_dense_path_has_no_routing() -> None:
    path = Path()
    path.add_routings((), seq_len=16)
    path.add_steps([1.0], gradient_norms=[float("inf")], time_s=0.1)
    assert path.dropped_token_fraction() is None
    assert path.capacity_utilization(last_steps=1) is None
    assert path.window.routing_columns == {}
    assert path.window.gradient_norm is None
    assert Window().train_nll is None


def test_dead_experts_are_those_without_a_token() -> None:
    logits = torch.zeros(8, 4)
    logits[:, 1] = 1.0
    path = Path()
    path.add_routings((route(logits, spec=SPEC, group_tokens=8, capacity_factor=None),), seq_len=4)
    path.add_steps([1.0], gradient_norms=[1.0], time_s=0.1)
    columns = path.window.routing_columns
    assert columns["dead_expert_fraction"].tolist() == [0.75]
    assert columns["expert_load_max_over_mean"].tolist() == [4.0]
    assert (columns["group_load_min"].tolist(), columns["group_load_max"].tolist()) == ([0.0], [4.0])
    assert columns["expert_load_cv"].tolist() == pytest.approx([3**0.5])  # one load of 1, three of 0: sd/mean = sqrt(3)


def test_dropping_by_position_and_by_group() -> None:
    """Two groups of one sequence each; all tokens want expert 0, which has room for the first half of a sequence."""
    logits = torch.zeros(32, 4)
    logits[:, 0] = 1.0
    path = Path()
    path.add_routings((route(logits, spec=SPEC, group_tokens=16, capacity_factor=2.0),), seq_len=16)
    path.add_steps([1.0], gradient_norms=[1.0], time_s=0.1)
    columns = path.window.routing_columns
    assert columns["dropped_by_position"].tolist() == [[0.0] * 4 + [1.0] * 4]
    assert (columns["group_load_min"].tolist(), columns["group_load_max"].tolist()) == ([0.0], [4.0])


def test_load_that_is_uneven_within_each_batch_and_even_over_all_is_uneven() -> None:
    path = Path()
    for expert in range(4):
        logits = torch.zeros(16, 4)
        logits[:, expert] = 1.0
        path.add_routings((route(logits, spec=SPEC, group_tokens=16, capacity_factor=1.0),), seq_len=16)
        path.add_steps([1.0], gradient_norms=[1.0], time_s=0.1)
    columns = path.window.routing_columns
    assert columns["expert_load_cv"].tolist() == pytest.approx([3**0.5])
    assert columns["expert_load_max_over_mean"].tolist() == [4.0]
    assert columns["expert_load_cv_pooled"].tolist() == [0.0]
    assert columns["dead_expert_fraction"].tolist() == [0.0]


def test_the_entropy_of_the_mean_is_above_the_mean_entropy_when_tokens_differ() -> None:
    logits = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    path = Path()
    path.add_routings((route(logits, spec=SPEC, group_tokens=2, capacity_factor=None),), seq_len=2)
    path.add_steps([1.0], gradient_norms=[1.0], time_s=0.1)
    columns = path.window.routing_columns
    assert columns["entropy_of_mean"].tolist() == pytest.approx([math.log(2)])
    assert columns["router_entropy"].item() < 0.01
    assert columns["router_confidence"].item() > 0.999
