"""The experiment that checks the tool itself, small enough for a test: real runs through the real command line."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SMALL = ("base.train.tokens=2048", "base.train.batch_tokens=256", "base.train.eval_points=1", "base.data.seq_len=32")


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "corpus").mkdir()
    for number in range(40):
        words = " ".join(f"word{(number * 7 + i * i) % 50}" for i in range(150))
        (tmp_path / "corpus" / f"{number}.txt").write_text(words)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))  # a short path: sockets lie there
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def answer(*words: str) -> Any:
    command = [sys.executable, "-m", "switchbench", *words, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_controls_of_identical_configurations_are_judged(place: Path) -> None:
    data = "base.data={corpus: text, path: corpus, held_out_fraction: 0.1}"
    answer("sweep", str(EXPERIMENTS / "aa.yaml"), data, *SMALL, "sweep.seeds=[0, 1]", "--no-calibrate")
    (sweep,) = answer("report")["sweeps"]
    assert sweep["counts"]["ok"] == sweep["counts"]["cells"] == 12
    controls = {control["name"]: control for control in sweep["controls"]}
    assert {name: control["is_paired"] for name, control in controls.items()} == {
        "identical dense": False, "identical half": False, "identical sparse": False,
        "half of d_ff": True, "half of d_ff again": True,
    }  # fmt: skip
    assert {control["expected"] for name, control in controls.items() if "identical" in name} == {"none"}
    for control in controls.values():
        assert control["came_out"] is not None
        assert control["value"] != 0  # other random numbers, or another model
        assert all(math.isfinite(end) for end in control["ci95"])
