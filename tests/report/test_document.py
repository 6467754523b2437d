import json
from pathlib import Path
from typing import Any

import pytest
from factories import Study, make_runs, make_spec, with_seed, write_study
from scipy import stats

from switchbench.caveats import Caveat
from switchbench.compare import CHANGE_MEASURES, MEASURES, RATIOS
from switchbench.record import RunRecord, TimingRecord
from switchbench.report import REPORT_SCHEMA, Questions, build_report, parse_gates, report_document, report_json
from switchbench.store import write_run

DENSE, SPARSE = make_spec(), make_spec(num_experts=4)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    studies = [
        Study(DENSE, {0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.72]}, is_twin=True),
        Study(SPARSE, {0: [1.9, 1.7, 1.6], 1: [1.9, 1.7, 1.65], 2: "crashed"}),
    ]
    folder = write_study(tmp_path, studies, name="größer 1")
    spec = with_seed(SPARSE, 1)
    runs = make_runs(spec, nll=[1.9, 1.7, 1.65], sweep="größer 1", router_entropy=float("nan"))
    write_run(folder, runs=runs, steps=[], spec=spec)
    loaded: dict[str, Any] = json.loads(report_json(build_report(tmp_path)), parse_constant=refuse)
    return loaded


def test_the_keys(document: dict[str, Any]):
    assert list(document) == [
        "schema_version", "sweeps", "runs", "annealed", "timings", "budget", "baseline", "gates", "comparisons",
        "caveats",
    ]  # fmt: skip
    assert document["schema_version"] == REPORT_SCHEMA
    assert document["caveats"] == {caveat.value: caveat.footnote for caveat in Caveat}


def test_one_entry_per_run_with_all_columns(document: dict[str, Any]):
    assert len(document["runs"]) == 5
    assert all(list(entry) == list(RunRecord.model_fields) for entry in document["runs"] + document["annealed"])
    assert all(entry["parent_run_id"] is None for entry in document["runs"])
    assert sorted(entry["status"] for entry in document["runs"]) == ["crashed", "ok", "ok", "ok", "ok"]
    assert len(document["annealed"]) == 8
    assert {entry["anneal_fraction"] for entry in document["annealed"]} == {0.25, 0.5}
    assert [list(entry) for entry in document["timings"]] == [list(TimingRecord.model_fields)] * 2


def test_one_comparison_per_pair_and_measure(document: dict[str, Any]):
    entries = [entry for entry in document["comparisons"] if entry["matched_on"] == "iso_flop"]
    assert [entry["measure"] for entry in entries] == list(MEASURES)
    assert {entry["matched_on"] for entry in document["comparisons"]} == {"iso_flop", "iso_time"}
    for entry in entries:
        assert entry["sweep"] == "größer 1"
        assert (entry["dense"], entry["sparse"]) == (DENSE.config_id, SPARSE.config_id)
        assert isinstance(entry["value"], float)
        is_same_for_all_seeds = entry["measure"] in ("step_time_ratio", "flops_ratio_provisioned")
        assert (entry["ci95"] is None) if entry["measure"] == "flops_ratio_provisioned" else (len(entry["ci95"]) == 2)
        judged = ("sparse", "dense", "equivalent", "unresolved")
        assert (entry["verdict"] is None) if entry["measure"] in RATIOS else (entry["verdict"] in judged)
        assert entry["seeds"] == [0, 1]
        assert set(entry["by_seed"]) == {"0", "1"}
        assert entry["bound"] is None
        assert ("MISSING_RUNS" in entry["caveats"]) != is_same_for_all_seeds


def test_a_sweep_says_what_it_asked_and_counts_its_runs(document: dict[str, Any]):
    (sweep,) = document["sweeps"]
    assert sweep["name"] == "größer 1"
    assert sweep["question"].startswith("Where does")
    assert sweep["counts"] == {
        "cells": 5, "ok": 4, "diverged": 0, "failed": 1, "missing": 0, "not_in_manifest": 0,
    }  # fmt: skip


def test_the_tables_are_those_of_the_terminal(tmp_path: Path):
    studies = [
        Study(DENSE, {0: [2.0, 1.8, 1.7]}, is_twin=True),
        Study(SPARSE, {0: [1.6, 1.5, 1.4]}),
        Study(make_spec(num_experts=8), {0: [2.1, 1.9, 1.8]}),
    ]
    write_study(tmp_path, studies)
    report = build_report(tmp_path)
    (sweep,) = json.loads(report_json(report))["sweeps"]
    assert [table["key"] for table in sweep["tables"]][:5] == [
        "head_to_head",
        "cost",
        "break_even",
        "capacity",
        "routing",
    ]
    for shown, table in zip(report.sweeps[0].tables, sweep["tables"], strict=True):
        assert table["title"] == shown.title
        keys = [column["key"] for column in table["columns"]]
        assert keys == [column.key for column in shown.columns]
        for row, entry in zip(shown.rows, table["rows"], strict=True):
            assert entry["config_id"] == row.config_id
            assert list(entry["cells"]) == keys
            assert [cell["text"] for cell in entry["cells"].values()] == [cell.text for cell in row.cells]
    columns = {column["key"]: column for column in sweep["tables"][1]["columns"]}
    assert columns["wall_clock_s"] == {"key": "wall_clock_s", "header": "wall-clock", "unit": "s"}
    dense, bound, unreached = (row["cells"]["time_to_quality_s"] for row in sweep["tables"][0]["rows"])
    assert dense["value"] == pytest.approx(DENSE.train.num_steps * 0.02)
    assert bound["value"] == pytest.approx(SPARSE.train.anneal_points[0].end_step * 0.02)
    assert (bound["bound"], bound["caveats"]) == ("upper", ["SINGLE_SEED", "BOUND_ONLY", "CPU_TIMING"])
    assert (unreached["value"], unreached["text"]) == (None, "not reached")


def test_every_cell_that_shows_a_number_has_it_for_programs(document: dict[str, Any]):
    checked = 0
    for table in document["sweeps"][0]["tables"]:
        for row in table["rows"]:
            for key, cell in row["cells"].items():
                assert list(cell) == ["value", "spread", "ci95", "bound", "text", "caveats"]
                if any(letter.isdigit() for letter in cell["text"]) and key not in ("model", "sparse", "dense"):
                    assert isinstance(cell["value"], (int, float)), (key, cell)
                    checked += 1
    assert checked > 40


def test_swept_settings_are_there_as_values(tmp_path: Path):
    studies = [
        Study(make_spec(train={"learning_rate": rate}), {0: [1.7]}, settings={"train.learning_rate": rate})
        for rate in (5e-3, 1e-2)
    ]
    write_study(tmp_path, studies)
    table = report_document(build_report(tmp_path))["sweeps"][0]["tables"][0]
    assert [row["cells"]["train.learning_rate"]["value"] for row in table["rows"]] == [5e-3, 1e-2]


def test_the_target_of_a_pair_is_named(document: dict[str, Any]):
    targets = [entry["target_nll"] for entry in document["comparisons"] if entry["matched_on"] == "iso_flop"]
    assert targets == [pytest.approx(1.71)] * len(MEASURES)


def test_a_sweep_says_its_verdict(document: dict[str, Any]):
    """Two seeds of one pair: 0.10 and 0.07 nats better, t = 5.67 with one degree of freedom."""
    verdict = document["sweeps"][0]["verdict"]
    difference = next(entry for entry in document["comparisons"] if entry["measure"] == "delta_nll")
    for key in ("sparse", "dense", "matched_on", "value", "ci95", "p_value", "p_holm", "resolvable", "verdict"):
        assert verdict[key] == difference[key]
    assert verdict["verdict"] == "unresolved"
    assert verdict["p_value"] == verdict["p_holm"] == pytest.approx(stats.ttest_rel([1.6, 1.65], [1.7, 1.72]).pvalue)
    assert (verdict["is_primary"], verdict["confidence"], verdict["min_effect"]) == (False, 0.95, 0.005)
    assert (verdict["candidates"], verdict["tested"], verdict["degrees_of_freedom"]) == (1, 1, 1)
    assert verdict["prior_degrees_of_freedom"] is None
    assert verdict["seeds_needed"] > 2


def test_the_text_is_ascii_whatever_the_names(tmp_path: Path):
    write_study(tmp_path, [Study(DENSE, {0: [1.7]})], name="größer 1")
    text = report_json(build_report(tmp_path))
    assert text.isascii()
    assert json.loads(text)["sweeps"][0]["name"] == "größer 1"


def test_what_changed_against_a_baseline(tmp_path: Path):
    for name, last in (("before", 1.7), ("now", 1.8)):
        write_study(tmp_path / name, [Study(DENSE, {0: [2.0, last], 1: [2.0, last + 0.01]})])
    write_study(tmp_path / "now", [Study(SPARSE, {0: [1.7]})], name="another")
    questions = Questions(baseline=tmp_path / "before")
    gates = parse_gates(["nll > +1%", "nll > 5"], has_baseline=True)
    report = build_report(tmp_path / "now", questions=questions, gates=gates)
    document = json.loads(report_json(report), parse_constant=refuse)
    (changed,) = document["baseline"]
    assert (changed["sweep"], changed["baseline_sweep"]) == ("capacity", "capacity")
    assert changed["baseline"] == str(tmp_path / "before" / "capacity")
    (configuration,) = changed["configurations"]
    assert configuration["config_id"] == configuration["baseline_config_id"] == DENSE.config_id
    assert (configuration["label"], configuration["seeds"]) == ("dense", [0, 1])
    assert changed["verdicts"] == {configuration["verdict"]: 1}
    assert [change["measure"] for change in configuration["changes"]] == list(CHANGE_MEASURES)
    nll = configuration["changes"][0]
    assert (nll["then"], nll["now"]) == (pytest.approx(1.705), pytest.approx(1.805))
    assert nll["value"] == pytest.approx(0.1 / 1.705)
    assert [(gate["expression"], gate["failed"]) for gate in document["gates"]] == [
        ("nll > +1%", True), ("nll > 5", False),
    ]  # fmt: skip
    (other,) = [sweep for sweep in document["sweeps"] if sweep["name"] == "another"]
    assert other["notes"][0] == f"The baseline {tmp_path / 'before'} has no sweep another."


def test_not_a_number_is_null(document: dict[str, Any]):
    assert [entry["router_entropy"] for entry in document["runs"]] == [None, None, 1.2, None, None]
