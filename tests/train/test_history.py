"""Windows and paths against plain sums."""

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
        path.add_routings(routings(seed))
        path.add_steps([float(seed)], gradient_norms=[2.0 * seed], time_s=0.5)


def test_a_window_averages_over_steps_and_keeps_layers_apart() -> None:
    path = Path()
    walk(path, range(3))
    counts = torch.stack([torch.stack([r.tokens_per_expert_E for r in routings(seed)]) for seed in range(3)])
    window = path.window
    assert window.train_nll == 1.0
    assert window.gradient_norm == 2.0
    torch.testing.assert_close(window.expert_load_LE, counts.sum(0) / (3 * 32))
    assert window.expert_load_cv == pytest.approx(
        sum(float(load.std(correction=0) / load.mean()) for load in (counts.sum(0) / 96)) / 2
    )
    entropies = [[r.entropy.item() for r in routings(seed)] for seed in range(3)]
    assert window.router_entropy_L.tolist() == pytest.approx([sum(layer) / 3 for layer in zip(*entropies, strict=True)])


def test_windows_add_up() -> None:
    whole, parts = Path(), Path()
    walk(whole, range(5))
    walk(parts, range(2))
    parts.close_window()
    walk(parts, range(2, 5))
    together = parts.since_branch + parts.window
    assert together.num_steps == whole.window.num_steps == 5
    assert together.train_nll == whole.window.train_nll
    torch.testing.assert_close(together.aux_loss_mean_L, whole.window.aux_loss_mean_L)
    assert torch.equal(together.tokens_per_expert_LE, whole.window.tokens_per_expert_LE)


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
    kept = [sum(r.kept_tokens_N.shape[0] for r in routings(seed)) for seed in range(8)]
    assert path.dropped_token_fraction() == pytest.approx(1 - sum(kept) / (8 * 64))
    assert path.dropped_token_fraction(last_steps=2) == pytest.approx(1 - sum(kept[-2:]) / (2 * 64))
    assert path.capacity_utilization(last_steps=2) == pytest.approx(sum(kept[-2:]) / (2 * 2 * 4 * 8))


def test_a_dense_path_has_no_routing() -> None:
    path = Path()
    path.add_routings(())
    path.add_steps([1.0], gradient_norms=[float("inf")], time_s=0.1)
    assert path.dropped_token_fraction() is None
    assert path.capacity_utilization(last_steps=1) is None
    assert path.window.expert_load_cv is None
    assert path.window.gradient_norm is None
    assert Window().train_nll is None


def test_dead_experts_are_those_without_a_token() -> None:
    logits = torch.zeros(8, 4)
    logits[:, 1] = 1.0
    path = Path()
    path.add_routings((route(logits, spec=SPEC, group_tokens=8, capacity_factor=None),))
    path.add_steps([1.0], gradient_norms=[1.0], time_s=0.1)
    assert path.window.dead_expert_fraction == 0.75
    assert path.window.expert_load_cv == pytest.approx(3**0.5)  # one load of 1, three of 0: sd/mean = sqrt(3)
