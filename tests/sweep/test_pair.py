"""The pair that a sweep's verdict is about."""

import pytest

from switchbench.compare import Rules
from switchbench.store import Manifest
from switchbench.sweep import Primary
from switchbench.sweep.pair import CONFIDENCE, MIN_EFFECT
from tests.sweep.marks import without_marks

TEXT = """\
schema: 1
name: x
base: {model: {ffn: {kind: sparse}}}
sweep:
  grid:
    model.ffn.num_experts: [4, 16]
    model.ffn.capacity_factor: [1, 2]
  baselines: [iso_flop, iso_total_params]
report:
  primary: {sparse: {num_experts: 16, model.ffn.capacity_factor: 2.0}, dense: iso_total_params}
"""


def test_the_pair_is_found(load):
    sweep = load(TEXT)
    wanted = {"model.ffn.num_experts": 16, "model.ffn.capacity_factor": 2.0, "seed": 0}
    (sparse,) = [cell for cell in sweep.cells if cell.settings == wanted]
    assert sweep.primary == Primary(
        sparse=sparse.spec.config_id,
        dense=next(
            c.spec.config_id for c in sweep.cells if sparse.spec.config_id in c.twins.get("iso_total_params", ())
        ),
        matched_on="iso_total_params",
    )


def test_one_sparse_configuration_needs_no_name_and_no_pair_is_no_pair(load):
    one = load(TEXT, "sweep.grid={}", "report.primary={sparse: {}, dense: iso_flop}")
    assert one.primary is not None
    assert one.primary.sparse == one.cells[0].spec.config_id
    assert load(TEXT, "report={}").primary is None
    assert load(TEXT.partition("report:")[0]).primary is None


def test_overrides(load):
    sweep = load(TEXT, "report.primary.sparse.num_experts=4", "report.primary.dense=iso_flop")
    assert sweep.primary is not None
    assert sweep.primary.matched_on == "iso_flop"
    assert sweep.primary.sparse in next(cell.twin_of for cell in sweep.cells if cell.twin_of)


def test_the_pair_is_no_part_of_any_identity(load):
    ids = [[cell.spec.run_id for cell in load(text).cells] for text in (TEXT, TEXT.partition("report:")[0])]
    assert ids[0] == ids[1]


def test_what_a_verdict_takes(load):
    sweep = load(TEXT, "report.min_effect=1e-2", "report.confidence=0.9")
    assert (sweep.min_effect, sweep.confidence) == (0.01, 0.9)
    assert sweep.primary is not None
    without = load(TEXT)
    assert (without.min_effect, without.confidence) == (MIN_EFFECT, CONFIDENCE)
    assert [cell.spec.run_id for cell in sweep.cells] == [cell.spec.run_id for cell in without.cells]


def test_old_manifests_and_reports_take_what_files_take_by_default():
    fields = Manifest.model_fields
    assert (fields["min_effect"].default, fields["confidence"].default) == (MIN_EFFECT, CONFIDENCE)
    assert (Rules().min_effect, Rules().confidence) == (MIN_EFFECT, CONFIDENCE)


PRIMARY = "{sparse: {num_experts: 16, model.ffn.capacity_factor: 2.0}, dense: iso_total_params}"
WHOLE = "  primary: " + PRIMARY
PROBLEMS = [
    (WHOLE, "  min_effect: §0", ["report.min_effect must be a number above 0 and below 1, got 0"]),
    (WHOLE, "  confidence: §95", ["report.confidence must be a number above 0.5 and below 1, got 95"]),
    (WHOLE, "  confidence: §[0.9]", ["report.confidence must be a number above 0.5 and below 1, got a list"]),
    (WHOLE, "  confidence: §true", ["report.confidence must be a number above 0.5 and below 1, got true"]),
    (WHOLE, "  §primry: 3", ["report.primry is not a key. Did you mean 'primary'?"]),
    (PRIMARY, "§3", ["report.primary must be a mapping (sparse, dense), got 3"]),
    (WHOLE, "  §primary: {}", ["report.primary lacks the key sparse"]),
    (
        PRIMARY,
        "{sparse: §16, dense: §[iso_flop]}",
        ["report.primary.sparse must be a mapping of fields to values", "must be a baseline (iso_flop, iso_active"],
    ),
    (
        PRIMARY,
        "{sparse: {§num_expert: 16, capacity_factor: §-1, model.ffn.num_experts: 4, §num_experts: 4}, "
        "dense: §iso_flops}",
        [
            "report.primary.sparse: num_expert is not a field. Did you mean 'num_experts'?",
            "model.ffn.capacity_factor must be above 0",
            "names model.ffn.num_experts twice",
            "got the text 'iso_flops'. Did you mean 'iso_flop'?",
        ],
    ),
    (
        "iso_total_params}\n",
        "§iso_active_params}\n",
        ["report.primary.dense: iso_active_params is none of the sweep's baselines; add it there"],
    ),
    (
        "num_experts: 16, ",
        "num_experts: §8, ",
        ["no such sparse configuration has model.ffn.num_experts 8; there: 4, 16"],
    ),
    (
        "report:\n  primary: {sparse: {num_experts: 16, model.ffn.capacity_factor: 2.0}",
        "  constraints: [num_experts != 16 or capacity_factor < 2]\n"
        "report:\n  primary: {sparse: {num_experts: 16, model.ffn.capacity_factor: §2.0}",
        ["2.0; there: 1.0. A constraint drops it: num_experts != 16 or capacity_factor < 2 does not hold: num_experts"],
    ),
    (
        WHOLE.replace(", model.ffn.capacity_factor: 2.0", ""),
        "  §primary: {sparse: {num_experts: 16}, dense: iso_flop}",
        ["must name one sparse configuration, and this names 2; say which, by model.ffn.capacity_factor"],
    ),
]


@pytest.mark.parametrize(("old", "new", "messages"), PROBLEMS)
def test_problem(problems_of, old, new, messages):
    text = TEXT if old in TEXT else TEXT.replace(", model.ffn.capacity_factor: 2.0", "")
    assert old in text
    text, places = without_marks(text.replace(old, new))
    problems = problems_of(text)
    # Two keys can lack at one place.
    assert list(dict.fromkeys((problem.line, problem.column) for problem in problems)) == places
    for message in messages:
        assert any(message in problem.message for problem in problems)
