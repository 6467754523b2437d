"""From the results of tries to cells: the same results always come to the same cells, and those are the best ones."""

import itertools
import math
from dataclasses import replace
from statistics import fmean
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.sweep import Cell, Sweep, TryEnd, choose
from switchbench.sweep.cells import cells_of
from switchbench.sweep.grids import with_values
from switchbench.sweep.tuning import MAX_EXTENSIONS, with_tuning
from tests.factories import make_spec

RATE, DECAY = "train.learning_rate", "train.weight_decay"
EXPERTS = "model.ffn.num_experts"
SPARSE, OTHER, DENSE = make_spec(num_experts=4), make_spec(num_experts=8), make_spec()
TWINS: Any = {spec.config_id: {"iso_flop": DENSE} for spec in (SPARSE, OTHER)}


def tuned(grid: dict[str, list[float]], *, seeds: list[int] | None = None, tune_seeds: tuple[int, ...] = (9,)) -> Sweep:
    """Two sparse configurations with one dense twin, which hold the first values."""
    first = {path: values[0] for path, values in grid.items()}
    specs = [with_values(spec, first) for spec in (SPARSE, OTHER)]
    twins = {spec.config_id: {"iso_flop": with_values(DENSE, first)} for spec in specs}
    cells = cells_of(specs, axes=[EXPERTS], seeds=seeds or [0], twins=twins)
    return with_tuning(Sweep(name="x", question="", file="", cells=cells, axes=(EXPERTS,)), grid=grid, seeds=tune_seeds)


def key(cell: Cell) -> Any:
    return cell.settings.get(EXPERTS)


def run_all(sweep: Sweep, nll: Any) -> Sweep:
    """Run tries until there are no more: `nll` gives that of a cell."""
    ends: dict[str, TryEnd] = {}
    for _ in range(MAX_EXTENSIONS + 2):
        ends |= {cell.spec.run_id: end(nll(cell)) for cell in sweep.cells if cell.spec.run_id not in ends}
        sweep = choose(sweep, ends)
    assert not sweep.pending
    return sweep


def end(nll: float) -> TryEnd:
    return TryEnd(status="ok", nll=nll) if math.isfinite(nll) else TryEnd(status="diverged", nll=None)


def reported(sweep: Sweep) -> dict[Any, Cell]:
    return {key(cell): cell for cell in sweep.cells if cell.role != "tuning"}


@settings(max_examples=30, deadline=None)
@given(
    nll=st.dictionaries(
        st.tuples(st.sampled_from([4, 8, None]), st.sampled_from([1e-3, 2e-3, 4e-3]), st.sampled_from([9, 10])),
        st.sampled_from([1.0, 1.5, 2.0, math.inf]),
    ),
    order=st.randoms(use_true_random=False),
)
def test_the_choice_is_the_best_of_a_plain_search_whatever_order_tries_end_in(nll, order):
    sweep = tuned({RATE: [1e-3, 2e-3, 4e-3]}, tune_seeds=(9, 10))

    def nll_of(experts: Any, rate: float, seed: int) -> float:
        return nll.get((experts, rate, seed), 3.0 + rate)  # what extends the grid is worst, so that it ends soon

    ends: dict[str, TryEnd] = {}
    while sweep.pending:
        waiting = [cell for cell in sweep.cells if cell.spec.run_id not in ends]
        assert waiting
        for cell in order.sample(waiting, max(1, len(waiting) // 2)):
            ends[cell.spec.run_id] = end(nll_of(key(cell), cell.spec.train.learning_rate, cell.spec.seed))
        sweep = choose(sweep, ends)
    assert choose(tuned({RATE: [1e-3, 2e-3, 4e-3]}, tune_seeds=(9, 10)), ends) == choose(sweep, ends) == sweep

    rates = sorted({cell.spec.train.learning_rate for cell in sweep.cells if cell.role == "tuning"})
    assert [rate for rate in rates if 1e-3 <= rate <= 4e-3] == [1e-3, 2e-3, 4e-3]
    for experts in (4, 8, None):
        means = {rate: fmean([nll_of(experts, rate, 9), nll_of(experts, rate, 10)]) for rate in rates}
        cell = reported(sweep).get(experts)
        if all(math.isinf(mean) for mean in means.values()):
            assert cell is None
        else:
            assert cell is not None
            assert means[cell.spec.train.learning_rate] == min(means.values())


def test_until_the_last_try_has_ended_nothing_is_reported():
    sweep = tuned({RATE: [1e-3, 2e-3, 4e-3]})
    ends = {cell.spec.run_id: end(abs(cell.spec.train.learning_rate - 2e-3)) for cell in sweep.cells}
    for left_out in sweep.cells:
        fewer = {run_id: each for run_id, each in ends.items() if run_id != left_out.spec.run_id}
        partial = choose(sweep, fewer)
        assert (partial.cells, len(partial.pending)) == (sweep.cells, 3)
        assert all(choice.chosen is None for choice in partial.choices)
    assert set(reported(choose(sweep, ends))) == {4, 8, None}


def test_each_configuration_has_its_own_best_value_and_one_twin_serves_both():
    best = {4: 1e-3, 8: 4e-3, None: 2e-3}
    sweep = run_all(tuned({RATE: [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]}, seeds=[0, 1]), lambda cell: abs(
        math.log(cell.spec.train.learning_rate / best[key(cell)])
    ))  # fmt: skip
    cells = [cell for cell in sweep.cells if cell.role != "tuning"]
    assert [(key(cell), cell.spec.train.learning_rate, cell.spec.seed) for cell in cells] == [
        (4, 1e-3, 0), (4, 1e-3, 1), (8, 4e-3, 0), (8, 4e-3, 1), (None, 2e-3, 0), (None, 2e-3, 1),
    ]  # fmt: skip
    assert all(cell.settings[RATE] == cell.spec.train.learning_rate for cell in cells)
    dense = cells[-1]
    assert dense.twin_of == dense.twins["iso_flop"] == (cells[0].spec.config_id, cells[2].spec.config_id)
    without_rates = [with_values(cell.spec, {RATE: 1}).config_id for cell in cells]
    assert without_rates == [with_values(s, {RATE: 1}).config_id for s in (SPARSE, SPARSE, OTHER, OTHER, DENSE, DENSE)]
    assert [choice.config_id for choice in sweep.choices] == [cells[i].spec.config_id for i in (0, 2, 4)]


def test_a_best_value_at_an_edge_extends_the_grid_for_all_alike():
    sweep = run_all(tuned({RATE: [3e-3, 5e-3, 1e-2]}), lambda cell: (
        abs(math.log(cell.spec.train.learning_rate / (2e-2 if key(cell) == 8 else 5e-3)))
    ))  # fmt: skip
    tried: dict[Any, list[float]] = {}
    for cell in sweep.cells:
        if cell.role == "tuning":
            tried.setdefault(key(cell), []).append(cell.spec.train.learning_rate)
    assert tried == {experts: [3e-3, 5e-3, 1e-2, 2e-2, 4e-2] for experts in (4, 8, None)}
    assert reported(sweep)[8].spec.train.learning_rate == 2e-2
    assert all(choice.at_edge == () for choice in sweep.choices)


def test_the_grid_grows_at_the_edge_that_is_best_and_not_for_ever():
    lower = run_all(tuned({RATE: [3e-3, 5e-3, 1e-2]}), lambda cell: cell.spec.train.learning_rate)
    assert {cell.spec.train.learning_rate for cell in lower.cells} == {3e-3, 5e-3, 1e-2, 1.8e-3, 1.08e-3}
    assert [choice.at_edge for choice in lower.choices] == [(RATE,)] * 3
    assert {cell.spec.train.learning_rate for cell in reported(lower).values()} == {1.08e-3}


def test_a_value_that_the_field_ends_at_is_at_no_edge():
    sweep = run_all(tuned({DECAY: [0.0, 0.1, 0.2]}), lambda cell: cell.spec.train.weight_decay)
    assert {cell.spec.train.weight_decay for cell in sweep.cells} == {0.0, 0.1, 0.2}
    assert all(choice.at_edge == () for choice in sweep.choices)


def test_axes_multiply_and_each_has_its_edges():
    sweep = run_all(
        tuned({RATE: [1e-3, 2e-3], DECAY: [0.1, 0.2, 0.4]}),
        lambda cell: cell.spec.train.learning_rate + abs(cell.spec.train.weight_decay - 0.2),
    )
    rates, decays = [1e-3, 2e-3, 5e-4, 2.5e-4], [0.1, 0.2, 0.4]
    tries = [cell for cell in sweep.cells if cell.role == "tuning" and key(cell) == 4]
    assert [(c.spec.train.learning_rate, c.spec.train.weight_decay) for c in tries] == list(
        itertools.product(rates, decays)
    )
    assert {choice.at_edge for choice in sweep.choices} == {(RATE,)}


def test_a_configuration_whose_tries_all_failed_is_reported_by_none_of_its_runs():
    sweep = run_all(tuned({RATE: [1e-3, 2e-3, 4e-3]}), lambda cell: (
        math.inf if key(cell) == 8 else abs(cell.spec.train.learning_rate - 2e-3)
    ))  # fmt: skip
    cells = reported(sweep)
    assert set(cells) == {4, None}
    assert cells[None].twin_of == (cells[4].spec.config_id,)
    failed = sweep.choices[1]
    assert (failed.chosen, failed.config_id, failed.at_edge) == (None, None, ())
    assert all(each.failed and each.nll is None for each in failed.tries)


def test_other_runs_and_earlier_grids_do_not_matter():
    grid = [1e-3, 2e-3, 4e-3]
    wide = tuned({RATE: [*grid, 8e-3]})
    ends = {cell.spec.run_id: end(-cell.spec.train.learning_rate) for cell in wide.cells}
    ends |= {cell.spec.run_id: end(-9.0) for cell in wide.pending}
    narrow = tuned({RATE: grid})
    own = {cell.spec.run_id: end(abs(cell.spec.train.learning_rate - 2e-3)) for cell in narrow.cells}
    assert choose(narrow, ends | own) == choose(narrow, own)


def test_without_tuning_a_sweep_stays_as_it_is():
    sweep = replace(tuned({RATE: [1e-3, 2e-3]}), tuning=None)
    assert choose(sweep, {}) is sweep
