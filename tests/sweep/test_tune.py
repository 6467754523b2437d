"""What a file says of tuning: what it comes to, and what is refused."""

import itertools
import json
from typing import Any

import pytest

from switchbench.sweep import inventory_json, inventory_line
from tests.sweep.marks import HEAD, SPARSE, without_marks

RATE, BALANCE = "train.learning_rate", "model.ffn.aux_loss_weight"
TUNED = """\
schema: 1
name: tuned
base: {model: {ffn: {kind: sparse}}, train: {learning_rate: 0.3}}
sweep:
  grid: {model.ffn.num_experts: [2, 4]}
  tune: {train.learning_rate: [5e-3, 1e-2], train.weight_decay: [0, 0.1, 0.2]}
  seeds: [0, 1]
  baselines: [iso_flop]
report: {primary: {sparse: {num_experts: 4}, dense: iso_flop}}
"""


def test_every_configuration_is_tried_with_every_combination_on_a_seed_of_its_own(load):
    sweep = load(TUNED)
    assert {cell.role for cell in sweep.cells} == {"tuning"}
    tried: dict[Any, list[Any]] = {}
    for cell in sweep.cells:
        experts = cell.settings.get("model.ffn.num_experts")
        train = cell.spec.train
        assert (cell.settings["train.learning_rate"], cell.settings["train.weight_decay"]) == (
            train.learning_rate,
            train.weight_decay,
        )
        assert cell.twin_of == ()
        assert cell.spec.seed == cell.settings["seed"] == 1000
        tried.setdefault((cell.kind, experts), []).append((train.learning_rate, train.weight_decay))
    combinations = list(itertools.product([5e-3, 1e-2], [0, 0.1, 0.2]))
    assert tried == {("sparse", 2): combinations, ("sparse", 4): combinations, ("dense", None): combinations}
    assert len({cell.spec.run_id for cell in sweep.cells}) == 18


def test_what_is_reported_waits(load):
    sweep = load(TUNED)
    assert [(cell.role, cell.spec.seed) for cell in sweep.pending] == [
        ("sparse", 0), ("sparse", 1), ("sparse", 0), ("sparse", 1), ("dense", 0), ("dense", 1),
    ]  # fmt: skip
    assert sweep.primary is None
    assert sweep.axes == ("model.ffn.num_experts",)
    counted = inventory_json(sweep)
    assert (counted["runs"], counted["configurations"], counted["tries"], counted["seeds"]) == (6, 3, 18, 2)
    line = inventory_line(sweep)
    assert line.endswith("with 2 seeds, after 18 runs that tune train.learning_rate and train.weight_decay")


def test_tries_keep_their_ids_when_the_grid_the_reported_seeds_or_the_axes_change(load):
    def ids(*overrides: str) -> set[str]:
        return {cell.spec.run_id for cell in load(TUNED, *overrides).cells}

    before = ids()
    assert ids("sweep.seeds=[5]") == before
    assert ids("base.train.learning_rate=1") == before
    assert ids("sweep.tune.train.learning_rate=[1e-2, 2e-2, 5e-3]") > before
    assert ids("sweep.grid.model.ffn.num_experts=[8, 4, 2]") > before
    assert ids("sweep.tune_seeds=[7]").isdisjoint(before)
    assert ids("sweep.tune_seeds=[7, 1000]") > before
    assert len(ids("sweep.tune.train.weight_decay=")) == 6


def test_the_seed_of_the_tries_is_never_a_reported_one(load):
    (seed,) = {cell.spec.seed for cell in load(TUNED, "sweep.seeds=[999, 1001, 1000]").cells}
    assert seed == 1002


def test_sparse_fields_are_tuned_where_there_is_no_dense_configuration(load):
    text = SPARSE + "sweep: {tune: {model.ffn.aux_loss_weight: [0.01, 0.1]}}\n"
    assert [cell.spec.model.ffn.aux_loss_weight for cell in load(text).cells] == [0.01, 0.1]


@pytest.mark.parametrize("given", [{"baselines": ["iso_flop"]}, {"grid": {"model.ffn.kind": ["dense", "sparse"]}}])
def test_a_dense_configuration_is_tried_as_often_with_a_finer_grid(load, given):
    tune = {"train.betas": [[0.9, 0.95], [0.9, 0.99]], RATE: [0.01, 0.04], BALANCE: [0.0, 0.01, 0.1]}
    sweep = load(SPARSE + "sweep: " + json.dumps(given | {"tune": tune}))
    tried: dict[str, list[dict[str, Any]]] = {"sparse": [], "dense": []}
    for choice in sweep.choices:
        tried[choice.kind] += [each.values for each in choice.tries]
    assert tried["sparse"] == [
        {"train.betas": betas, RATE: rate, BALANCE: weight} for betas, rate, weight in itertools.product(*tune.values())
    ]
    # between the two, then beyond both, each by the ratio of the two or the root of it
    assert tried["dense"] == [
        {"train.betas": betas, RATE: rate}
        for betas, rate in itertools.product(tune["train.betas"], [0.01, 0.04, 0.02, 0.0025, 0.16, 0.005])
    ]
    assert len({cell.spec.run_id for cell in sweep.cells}) == 24


TUNE = SPARSE + "sweep: {tune: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TUNE + "§[1]}", "sweep.tune must be a mapping"),
        (TUNE + "{§train.tokens: [1e6, 2e6]}}", "train.tokens cannot be tuned"),
        (TUNE + "{§model.ffn.kind: [dense, sparse]}}", "model.ffn.kind cannot be tuned"),
        (TUNE + "{§learning_rate: [1, 2]}}", "learning_rate is not a field"),
        (TUNE + "{train.learning_rate: §0.1}}", "must be a list"),
        (TUNE + "{train.learning_rate: §[0.1]}}", "at least two values"),
        (TUNE + "{train.learning_rate: [0.1, §-1]}}", "train.learning_rate must be"),
        (TUNE + "{train.learning_rate: [1, §1.0]}}", "has the value 1.0 twice"),
        (TUNE + "{§train.weight_decay: [0, 1]}, grid: {train.weight_decay: [0.1, 0.2]}}", "is an axis as well"),
        (TUNE + "{§train.weight_decay: [0, 1]}, derive: {train.weight_decay: 0.1 * num_experts}}", "is derived"),
        (TUNE + "{train.weight_decay: [0, 1]}, derive: {train.learning_rate: '0.1 * §weight_decay + 1'}}", "is tuned"),
        (TUNE + "{train.weight_decay: [0, 1]}, constraints: ['1 > §weight_decay']}", "weight_decay is tuned"),
        (
            TUNE + "{train.weight_decay: [0, 1]}, grid: {model.size: {values: [xs], when: {§train.weight_decay: 0}}}}",
            "when cannot ask for train.weight_decay",
        ),
        (TUNE + "{train.weight_decay: [0, 1]}, seeds: [3], tune_seeds: [§3]}", "which sweep.seeds reports"),
        (TUNE + "{train.weight_decay: [0, 1]}, tune_seeds: [3, §3]}", "the seed 3 twice"),
        (TUNE + "{train.weight_decay: [0, 1]}, tune_seeds: §[]}", "at least one"),
        (SPARSE + "sweep: {§tune_seeds: [3]}", "sweep.tune_seeds does nothing"),
        (
            TUNE
            + "{train.betas: [[0.9, 0.9], [0.9, 0.95]], §model.ffn.aux_loss_weight: [0, 1]}, baselines: [iso_flop]}",
            "tune such a one too, for example train.learning_rate: [5e-3, 1e-2, 2e-2]",
        ),
        (HEAD + "sweep: {tune: {§model.ffn.aux_loss_weight: [0, 1]}}", "is a field of sparse FFNs alone"),
        (
            TUNE + "{train.weight_decay: [0, 1]}, baselines: [iso_flop]}\n"
            "report: {primary: {sparse: {weight_decay: §1}, dense: iso_flop}}",
            "train.weight_decay is tuned",
        ),
    ],
)
def test_problems(problems_of, text, message):
    text, places = without_marks(text)
    problems = problems_of(text)
    assert [(problem.line, problem.column) for problem in problems] == places
    assert message in problems[0].message


def test_tries_count_among_the_runs_that_are_too_many(problems_of):
    seeds = ", ".join(map(str, range(50_000)))
    (problem,) = problems_of(TUNE + f"{{train.weight_decay: [0, 1]}}, seeds: [50000], tune_seeds: [{seeds}, 50001]}}")
    assert "multiply to 100,003 runs" in problem.message
