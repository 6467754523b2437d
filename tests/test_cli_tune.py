"""A sweep that tunes, with real runs through the real command line, interrupted among its tries."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from switchbench.store import SweepFolder, read_manifest, read_statuses
from tests.launch.text import write_sweep

WORDS = (
    "sweep",
    "small.yaml",
    "sweep.grid.model.ffn.num_experts=[4]",
    "sweep.seeds=[0]",
    "sweep.tune.train.learning_rate=[1e-3, 1e-2, 1e-1]",
    "--no-calibrate",
    "--workers",
    "1",
)


SPARSE_TOO = (
    *WORDS[:3],
    "base.train.tokens=2048",
    "sweep.tune.train.learning_rate=[1e-2, 1e-3]",
    "sweep.tune.model.ffn.aux_loss_weight=[0.0, 1.0]",
    *WORDS[4:],
)


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_sweep(tmp_path / "small.yaml", corpus=tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))  # a short path: sockets lie there
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def answer(*words: str) -> Any:
    command = [sys.executable, "-m", "switchbench", *words, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_tuned_sweep_is_interrupted_completed_and_reported(place: Path) -> None:
    planned = answer(*WORDS, "--dry-run")
    assert [cell["action"] for cell in planned["cells"]] == ["run"] * 6 + ["await"] * 2
    command = [sys.executable, "-m", "switchbench", *WORDS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        assert any(" done " in line for line in started.stderr)  # reads until the first run has ended
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=60)
    assert started.returncode == 130
    folder = SweepFolder(place / "results" / "small")
    kept = set(read_statuses(folder)[0])
    assert 0 < len(kept) < 8
    counts = answer("status")["sweeps"][0]["counts"]
    assert (counts["cells"], counts["done"], counts["missing"]) == (8, len(kept), 8 - len(kept))
    times = {run_id: (folder.runs / f"{run_id}.parquet").stat().st_mtime_ns for run_id in kept}

    summary = answer(*WORDS)
    assert summary["counts"]["failed"] == 0
    assert summary["counts"]["ok"] == summary["counts"]["runs"] == len(read_statuses(folder)[0])
    assert {run_id: (folder.runs / f"{run_id}.parquet").stat().st_mtime_ns for run_id in kept} == times
    manifest = read_manifest(folder)
    assert [cell.role for cell in manifest.cells[-2:]] == ["sparse", "dense"]
    for tuned, cell in zip(manifest.tuning, manifest.cells[-2:], strict=True):
        best = min(tuned.tries, key=lambda each: each.nll or 0)
        assert cell.spec["train"]["learning_rate"] == best.values["train.learning_rate"]
        assert len(tuned.tries) == len(manifest.tuning[0].tries)
    assert answer(*WORDS)["counts"]["started"] == 0
    report = answer("report")
    assert {run["seed"] for run in report["runs"]} == {0}
    assert report["sweeps"][0]["counts"]["cells"] == 2
    assert report["sweeps"][0]["tables"][-1]["key"] == "tuning"
    counts = answer("status")["sweeps"][0]["counts"]
    assert (counts["missing"], counts["configurations"], counts["timed"]) == (0, 2, 2)


def test_a_dense_twin_is_tried_as_often_where_a_field_of_sparse_layers_is_tuned(place: Path) -> None:
    rate, weight = "train.learning_rate", "model.ffn.aux_loss_weight"
    assert answer(*SPARSE_TOO)["counts"]["failed"] == 0
    folder = SweepFolder(place / "results" / "small")
    manifest = read_manifest(folder)
    sparse, dense = manifest.tuning
    assert (sparse.kind, dense.kind, len(sparse.tries)) == ("sparse", "dense", len(dense.tries))
    statuses, _ = read_statuses(folder)
    for tuned in (sparse, dense):
        runs = [run_id for each in tuned.tries for run_id in each.run_ids]
        assert len(set(runs)) == len(tuned.tries)  # each is a run of its own, which ended
        assert {statuses[run_id] for run_id in runs} == {"ok"}
        best = min(tuned.tries, key=lambda each: each.nll or 0)
        assert tuned.chosen == best.values
    assert {tuple(each.values) for each in sparse.tries} == {(rate, weight)}
    assert {tuple(each.values) for each in dense.tries} == {(rate,)}
    assert {each.values[rate] for each in dense.tries} >= {each.values[rate] for each in sparse.tries} >= {1e-2, 1e-3}
    reported = {cell.role: cell.spec for cell in manifest.cells if cell.role != "tuning"}
    assert reported["sparse"]["model"]["ffn"]["aux_loss_weight"] == (sparse.chosen or {})[weight]
    assert reported["dense"]["train"]["learning_rate"] == (dense.chosen or {})[rate]
    table = answer("report")["sweeps"][0]["tables"][-1]
    assert len(table["rows"]) == len(sparse.tries) + len(dense.tries)
    assert answer(*SPARSE_TOO)["counts"]["started"] == 0
