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
