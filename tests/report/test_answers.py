"""What a report says beyond pairs, and what it is asked: through the functions and through the real command."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from factories import Study, make_spec, write_study

from switchbench.compare import Budget, Frontier, FrontierStretch
from switchbench.errors import UsageError
from switchbench.report import Questions, build_report, parse_questions, report_document
from switchbench.report.elements import SweepReport, Table
from switchbench.report.frontier import round_amounts, sentence_of
from switchbench.report.questions import parse_budget
from tests.compare.test_elsewhere import make_row

SMALL, LARGE = make_spec(), make_spec(size="xs")
FEW, MANY = make_spec(num_experts=4), make_spec(num_experts=16)
NONE_ASKED = Questions()


def studies(**options: Any) -> list[Study]:
    """Two dense sizes and two sparse configurations, three seeds; the sparse ones are better for their tokens."""
    columns = [{"peak_memory_bytes": size * 2**20} for size in (100, 200, 120, 150)]
    curves = {
        SMALL: [1.99, 1.82, 1.70],
        LARGE: [1.85, 1.68, 1.55],
        FEW: [1.95, 1.77, 1.64],
        MANY: [1.93, 1.74, 1.61],
    }
    times_s = [0.020, 0.060, 0.023, 0.026]
    return [
        Study(
            spec,
            {seed: [nll + 0.004 * (seed - 1) * (i + 1) for nll in nlls] for seed in range(3)},
            step_time_s=time_s,
            is_twin=spec in (SMALL, LARGE),
            columns=column,
            **options,
        )
        for i, ((spec, nlls), time_s, column) in enumerate(zip(curves.items(), times_s, columns, strict=True))
    ]


def report_of(root: Path, made: list[Study], questions: Questions = NONE_ASKED) -> SweepReport:
    write_study(root, made)
    (sweep,) = build_report(root, questions=questions).sweeps
    return sweep


def table_of(sweep: SweepReport, key: str) -> Table | None:
    return next((table for table in sweep.tables if table.key == key), None)


def values(table: Table, column: str) -> list[Any]:
    place = [each.key for each in table.columns].index(column)
    return [row.cells[place].value for row in table.rows]


# Always said


def test_the_best_under_a_budget_is_in_every_report(tmp_path: Path):
    sweep = report_of(tmp_path, studies())
    table = table_of(sweep, "frontier")
    assert table is not None
    resources = values(table, "resource")
    assert list(dict.fromkeys(resources)) == [frontier.resource for frontier in sweep.frontiers]
    for resource, budget in zip(resources, values(table, "budget"), strict=True):
        (frontier,) = (each for each in sweep.frontiers if each.resource == resource)
        assert frontier.low is not None
        assert frontier.high is not None
        assert frontier.low <= budget <= frontier.high
    for dense, sparse, difference in zip(
        values(table, "dense_nll"), values(table, "sparse_nll"), values(table, "delta_nll"), strict=True
    ):
        assert difference == pytest.approx(sparse - dense)
    assert set(values(table, "dense")) <= {SMALL.config_id, LARGE.config_id}
    assert set(values(table, "sparse")) <= {FEW.config_id, MANY.config_id}
    for name in ("provisioned FLOPs", "executed FLOPs", "training time", "peak memory"):
        assert any(note.startswith(f"By {name} ") for note in table.notes)


def test_equal_time_has_a_table_and_comparisons_with_verdicts(tmp_path: Path):
    """The large dense model was trained for longer than the sparse ones were, the small one was done before."""
    sweep = report_of(tmp_path, studies())
    table = table_of(sweep, "equal_time")
    assert table is not None
    assert [row.config_id for row in table.rows] == [FEW.config_id, MANY.config_id]
    differences = [each for each in sweep.comparisons if each.matched_on == "iso_time" and each.measure == "delta_nll"]
    assert values(table, "delta_nll") == [each.value for each in differences]
    assert values(table, "verdict") == [each.verdict for each in differences]
    assert all(each.verdict is not None and each.ci95 is not None for each in differences)
    assert values(table, "dense") == [each.dense for each in differences]


def test_where_no_dense_run_took_as_long_it_is_said_and_nothing_is_made_up(tmp_path: Path):
    sweep = report_of(tmp_path, [study for study in studies() if study.spec != LARGE])
    assert table_of(sweep, "equal_time") is None
    assert any(note.startswith("At equal training time nothing is compared") for note in sweep.notes)
    found = [each for each in sweep.comparisons if each.matched_on == "iso_time"]
    assert found
    assert all(each.value is None and "OUTSIDE_RANGE" in each.caveats for each in found)


def test_without_timings_there_is_no_time(tmp_path: Path):
    made = [replace(study, step_time_s=None) for study in studies()]
    sweep = report_of(tmp_path, made, parse_questions(budgets=["1h"]))
    assert not [each for each in sweep.comparisons if each.matched_on == "iso_time"]
    table = table_of(sweep, "frontier")
    assert table is not None
    assert "train_time_s" not in values(table, "resource")
    assert "no configuration has an annealed point: none was timed" in sweep.budget_sentence
    assert any("4 configurations have no step time" in note for note in table.notes)


def test_times_of_different_machines_are_not_compared(tmp_path: Path):
    """Sparse was timed on one machine, dense on another: one side is left out, and that is said."""
    made = studies()
    for study in made:
        if study.spec in (FEW, MANY):
            study.timing_columns["machine_id"] = "cccc0000dddd"
    sweep = report_of(tmp_path, made)
    table = table_of(sweep, "frontier")
    assert table is not None
    assert "train_time_s" not in values(table, "resource")
    assert any(note.startswith("By training time nothing is compared: one side was not timed") for note in table.notes)
    assert any("2 configurations have no step time on the machine" in note for note in table.notes)
    assert not [each for each in sweep.comparisons if each.matched_on == "iso_time"]


@pytest.mark.parametrize("kept", [[], [SMALL], [FEW], [SMALL, LARGE]])
def test_fewer_sides_than_two_have_no_frontier(tmp_path: Path, kept: list[Any]):
    made = [study for study in studies() if study.spec in kept]
    if not kept:
        made = [Study(SMALL, {0: [2.0, 1.8, 1.7]}), Study(FEW, {0: "diverged", 1: "crashed"})]
    sweep = report_of(tmp_path, made, parse_questions(target_nll=1.7, budgets=["1e30FLOPs", "1TiB"]))
    assert (sweep.frontiers, table_of(sweep, "frontier"), table_of(sweep, "equal_time")) == ((), None, None)
    assert sweep.budget is not None
    assert sweep.budget.delta_nll is None
    lacking = "dense" if kept == [FEW] else "sparse"
    assert f"no {lacking} configuration has an annealed point" in sweep.budget_sentence


def test_diverged_configurations_are_not_chosen_and_named(tmp_path: Path):
    made = studies()
    made[3].outcomes[2] = "diverged"
    sweep = report_of(tmp_path, made, parse_questions(budgets=["1e30FLOPs"]))
    assert sweep.budget is not None
    assert sweep.budget.sparse is not None
    assert sweep.budget.sparse.config_id == FEW.config_id
    table = table_of(sweep, "frontier")
    assert table is not None
    assert MANY.config_id not in values(table, "sparse")
    assert any(note.startswith("Not chosen from") and "16 experts" in note for note in table.notes)


def test_where_the_frontiers_cross_is_said_in_words():
    def frontier(*edges: float, **columns: Any) -> Frontier:
        stretches = tuple(
            FrontierStretch(low=low, high=high, better="sparse" if i % 2 else "dense")
            for i, (low, high) in enumerate(itertools.pairwise(edges))
        )
        known: dict[str, Any] = {"crossing": edges[1] if len(edges) == 3 else None, "ci95": None, "caveats": ()}
        ends = (edges[0], edges[-1]) if edges else (None, None)
        return Frontier(
            sweep="s", resource="train_time_s", low=ends[0], high=ends[1], stretches=stretches, seeds=(0, 1),
            **known | columns,
        )  # fmt: skip

    assert sentence_of(frontier(1.0, 9.0)) == "By training time dense is better throughout, from 1.00 s to 9.00 s."
    assert sentence_of(frontier(1.0, 3.0, 9.0, ci95=(2.0, 4.0))) == (
        "By training time dense is better up to 3.00 s [2.00 s, 4.00 s], sparse beyond, in the range from 1.00 s to "
        "9.00 s."
    )
    assert sentence_of(frontier(1.0, 3.0, 9.0, caveats=("CROSSING_VARIES",))).endswith("so it is not sure.")
    assert sentence_of(frontier(1.0, 3.0, 5.0, 9.0)) == (
        "By training time the two cross 2 times: dense is better from 1.00 s up to 3.00 s, then sparse up to 5.00 s, "
        "then dense up to 9.00 s."
    )
    assert "no budget is within reach of both sides" in sentence_of(frontier())


# Asked for


def test_a_budget_is_answered_with_a_sentence_and_a_table(tmp_path: Path):
    questions = parse_questions(budgets=["130MiB", "1e30 FLOPs"])
    sweep = report_of(tmp_path, studies(), questions)
    found = sweep.budget
    assert found is not None
    assert found.dense is not None
    assert found.sparse is not None
    assert (found.dense.config_id, found.sparse.config_id) == (SMALL.config_id, FEW.config_id)
    assert found.delta_nll == pytest.approx(-0.06)
    assert found.better == "sparse"
    assert "0.060 ± " in sweep.budget_sentence
    assert "nats better than the best dense one" in sweep.budget_sentence
    assert sweep.tables[0].key == "budget"
    assert values(sweep.tables[0], "configuration") == [SMALL.config_id, FEW.config_id]
    assert sweep.tables[0].notes[0] == sweep.budget_sentence


def test_too_small_a_budget_says_what_the_first_point_takes(tmp_path: Path):
    sweep = report_of(tmp_path, studies(), parse_questions(budgets=["99MiB"]))
    assert sweep.budget_sentence == (
        "Within 99.0 MiB of peak memory no configuration has an annealed point: the first takes 100 MiB of peak memory."
    )


def test_a_target_is_said_wherever_speedups_are_and_summary_and_quality_stay(tmp_path: Path):
    usual = report_of(tmp_path, studies())
    asked = build_report(tmp_path, questions=parse_questions(target_nll=1.75)).sweeps[0]
    assert asked.summary == usual.summary
    titles = {table.key: table.title for table in asked.tables}
    assert titles["head_to_head"] == "Head to head, speed-ups at an nll of 1.75"
    assert titles["break_even"].endswith("speed-ups at an nll of 1.75")
    assert any("at an nll of 1.75 nats per token, as was asked for" in note for note in asked.notes)
    for before, after in zip(usual.comparisons, asked.comparisons, strict=True):
        assert after.target_nll == 1.75 or after.value is None
        if after.measure == "delta_nll":
            assert after.value == before.value
    head = table_of(asked, "head_to_head")
    assert head is not None
    assert all(value is not None for value in values(head, "time_to_quality_s"))


def test_a_target_that_dense_never_reaches_gives_bounds(tmp_path: Path):
    made = [study for study in studies() if study.spec != LARGE]
    sweep = report_of(tmp_path, made, parse_questions(target_nll=1.66))
    (few, many) = (
        each for each in sweep.comparisons if each.matched_on == "iso_flop" and each.measure == "step_speedup"
    )
    for comparison in (few, many):
        assert comparison.value is not None
        assert comparison.value > 1
        assert (comparison.bound, "NOT_REACHED" in comparison.caveats) == ("lower", True)
    head = table_of(sweep, "head_to_head")
    assert head is not None
    place = [each.key for each in head.columns].index("time_to_quality_s")
    assert head.rows[0].cells[place].text == "not reached"


def test_step_times_of_a_file_stand_beside_those_here(tmp_path: Path):
    path = tmp_path / "gpu.json"
    rows = [make_row(SMALL, median_s=0.01), make_row(FEW, median_s=0.02)]
    answer = {"benchmark": "step", "device": "cuda", "device_name": "Test GPU", "threads": 1, "rows": rows}
    path.write_text(json.dumps(answer), encoding="utf-8")
    other = tmp_path / "other.json"
    other.write_text(json.dumps(answer | {"rows": [make_row(SMALL, median_s=0.01, num_tokens=64)]}), encoding="utf-8")
    sweep = report_of(tmp_path / "results", studies(), parse_questions(step_times=[path, other]))
    table = table_of(sweep, "step_times")
    assert table is not None
    found = [(verdict.sparse, verdict.file) for verdict in sweep.step_times]
    assert found == [(FEW.config_id, None), (FEW.config_id, str(path)), (MANY.config_id, None)]
    assert values(table, "step_time_ratio") == [pytest.approx(each) for each in (0.023 / 0.02, 2.0, 0.026 / 0.02)]
    assert sweep.step_times[1].verdict == "dense"
    (note,) = (note for note in table.notes if str(other) in note)
    assert "does not hold both models of any pair" in note
    assert "64 tokens a step" in note
    assert f"{SMALL.train.batch_tokens} tokens a step" in note


# Reading what is asked


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("3e15FLOPs", Budget(resource="provisioned_train_flops", amount=3e15)),
        ("3 PFLOP", Budget(resource="provisioned_train_flops", amount=3e15)),
        ("10min", Budget(resource="train_time_s", amount=600)),
        ("90 s", Budget(resource="train_time_s", amount=90)),
        ("2GiB", Budget(resource="peak_memory_bytes", amount=2**31)),
        ("500 MB", Budget(resource="peak_memory_bytes", amount=5e8)),
    ],
)
def test_a_budget_is_read_by_its_unit(text: str, budget: Budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "3e15", "ten minutes", "5 kg", "-3GiB", "0min", "1e400FLOPs?", "GiB", "s", "3P"])
def test_what_is_no_budget_is_refused_in_words(text: str):
    with pytest.raises(UsageError, match="--budget must be"):
        parse_budget(text)


@pytest.mark.parametrize("nll", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_that_is_no_quality_is_refused(nll: float):
    with pytest.raises(UsageError, match="--target-nll must be a number above 0"):
        parse_questions(target_nll=nll)


@pytest.mark.parametrize("low", [3.7e-9, 0.9, 1.0, 47.0, 9.99e14])
@pytest.mark.parametrize("factor", [1.0000001, 1.1, 3.0, 1000.0])
def test_round_amounts_lie_within_and_are_short(low: float, factor: float):
    found = round_amounts(low, low * factor)
    assert len(found) <= 3
    assert list(found) == sorted(set(found))
    assert all(low <= amount <= low * factor for amount in found)
    assert all(len(f"{amount:.10g}".replace(".", "").strip("0").partition("e")[0]) <= 2 for amount in found)
    if factor >= 3:
        assert len(found) == 3


# The command


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "switchbench", "report", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_answers_in_json(tmp_path: Path):
    write_study(tmp_path / "results", studies())
    ended = run(tmp_path, "--json", "--budget", "130MiB", "--budget", "1h", "--target-nll", "1.75")
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    (answer,) = document["budget"]
    assert [budget["resource"] for budget in answer["budgets"]] == ["peak_memory_bytes", "train_time_s"]
    assert (answer["dense"]["config_id"], answer["sparse"]["config_id"]) == (SMALL.config_id, FEW.config_id)
    assert answer["better"] == "sparse"
    assert answer["sentence"].startswith("Within 130 MiB of peak memory and 1 h 00 min of training time")
    assert {frontier["resource"] for frontier in document["sweeps"][0]["frontiers"]} == {
        "provisioned_train_flops",
        "executed_train_flops",
        "train_time_s",
        "peak_memory_bytes",
    }
    assert {entry["target_nll"] for entry in document["comparisons"]} == {1.75}


def test_nothing_asked_is_nothing_answered(tmp_path: Path):
    write_study(tmp_path, studies())
    document = report_document(build_report(tmp_path))
    assert document["budget"] is None
    assert document["sweeps"][0]["step_times"] == []


@pytest.mark.parametrize(
    "words",
    [["--budget", "3 apples"], ["--step-times", "none.json"]],
)
def test_bad_requests_end_with_2_and_words(tmp_path: Path, words: list[str]):
    write_study(tmp_path / "results", studies()[:1])
    ended = run(tmp_path, *words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words[0] in ended.stderr
    assert "Traceback" not in ended.stderr
