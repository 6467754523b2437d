"""A sweep with dense twins of two kinds, through the real command line: trained, timed, paired and reported."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from switchbench.compare import MEASURES
from tests.launch.text import write_sweep

TOTAL_ALONE = "baselines: [iso_total_params]"
BOTH = "baselines: [iso_total_params, iso_active_params]\nreport:\n  primary: {sparse: {num_experts: 4}, dense: %s}"


def run(*words: str, folder: Path, columns: int = 120) -> str:
    environment = os.environ | {"COLUMNS": str(columns), "NO_COLOR": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "switchbench", *words]
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sparse configuration with its twin of equal active and its twin of equal total weights, one seed."""
    folder = tmp_path_factory.mktemp("kinds")
    file = folder / "kinds.yaml"
    write_sweep(file, corpus=folder / "corpus")
    text = file.read_text(encoding="utf-8").replace("[2, 4]", "[4]").replace("[0, 1, 2, 3]", "[0]")
    file.write_text(text.replace("baselines: [iso_flop]", BOTH % "iso_total_params"), encoding="utf-8")
    run("sweep", "kinds.yaml", "--no-calibrate", folder=folder)
    return folder


@pytest.fixture(scope="module")
def document(place: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run("report", "--json", folder=place))
    return content


def pairs_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparisons of pairs of twins; those at equal training time are of no twins."""
    return [entry for entry in document["comparisons"] if entry["matched_on"] != "iso_time"]


def test_there_is_one_comparison_per_kind_of_twin_and_measure(document: dict[str, Any]):
    found = [(entry["matched_on"], entry["measure"]) for entry in pairs_of(document)]
    assert found == [(kind, measure) for kind in ("iso_active_params", "iso_total_params") for measure in MEASURES]
    rows = {row["config_id"]: row for row in document["runs"]}
    assert len(rows) == 3
    for entry in pairs_of(document):
        dense, sparse = rows[entry["dense"]], rows[entry["sparse"]]
        assert (dense["ffn_kind"], sparse["ffn_kind"]) == ("dense", "sparse")
        column, tolerance = {
            "iso_active_params": ("params_active", 0.005),
            "iso_total_params": ("params_total", 0.03),
        }[entry["matched_on"]]
        assert dense[column] == pytest.approx(sparse[column], rel=tolerance)
        if entry["measure"] == "delta_nll":
            assert entry["value"] == pytest.approx(sparse["nll"] - dense["nll"])
        elif entry["measure"] == "flops_ratio_provisioned":
            ratio = sparse["provisioned_train_flops"] / dense["provisioned_train_flops"]
            assert entry["value"] == pytest.approx(ratio)


def test_the_measured_step_time_stands_beside_the_break_even(document: dict[str, Any]):
    times = {timing["config_id"]: timing["step_time_s"] for timing in document["timings"]}
    ratios = [entry for entry in pairs_of(document) if entry["measure"] == "step_time_ratio"]
    assert [entry["value"] for entry in ratios] == [
        pytest.approx(times[entry["sparse"]] / times[entry["dense"]]) for entry in ratios
    ]
    (shown,) = (table for table in document["sweeps"][0]["tables"] if table["key"] == "break_even")
    assert [row["cells"]["step_time_ratio"]["value"] for row in shown["rows"]] == [entry["value"] for entry in ratios]
    assert [row["cells"]["matched_on"]["value"] for row in shown["rows"]] == ["iso_active_params", "iso_total_params"]


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_the_report_says_what_was_matched(place: Path, columns: int):
    drawn = " ".join(run("report", folder=place, columns=columns).split())
    assert "at equal total parameters the primary sparse configuration (" in drawn
    assert "At equal active parameters it is " in drawn
    assert "What a sparse step may cost" in drawn


def test_a_sweep_with_twins_of_equal_total_weights_alone_has_pairs(place: Path):
    """What was trained already is taken over."""
    file = place / "kinds.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.partition("baselines:")[0] + TOTAL_ALONE + "\n", encoding="utf-8")
    assert "Nothing to do" in run("sweep", "kinds.yaml", "--no-calibrate", folder=place)
    content = json.loads(run("report", "--json", folder=place))
    assert {entry["matched_on"] for entry in pairs_of(content)} == {"iso_total_params"}
    summary = content["sweeps"][0]["summary"]
    assert "at equal total parameters the sparse configuration (d16-L2, 4 experts, capacity factor" in summary
