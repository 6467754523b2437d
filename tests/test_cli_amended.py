"""`switchbench sweep` of an amended file and with `--filter`, with the real command line and stand-ins for the runs."""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from switchbench import cli
from switchbench.launch.run import run_plan
from switchbench.store import SweepFolder, read_manifest, read_statuses, read_timings
from tests.launch.conftest import FUNCTIONS
from tests.launch.text import write_sweep


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Sweep = Callable[..., Answer]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the corpus is prepared, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def sweep(
    tmp_path: Path,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Sweep:
    """Sweeps the small file: experts 2 and 4 and their dense twin, with the seeds that are given."""
    write_sweep(tmp_path / "small.yaml", corpus=tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWITCHBENCH_CACHE", str(cache))
    monkeypatch.setitem(run_plan.__kwdefaults__, "functions", FUNCTIONS)
    temporary = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))

    def sweep(*words: str, seeds: str = "[0]") -> Answer:
        words = ("switchbench", "sweep", "small.yaml", f"sweep.seeds={seeds}", "--no-calibrate", *words)
        monkeypatch.setattr(sys, "argv", list(words))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return sweep


def plan(answer: Answer) -> dict[str, Any]:
    assert (answer.code, answer.err) == (0, "")
    content = json.loads(answer.out)
    assert isinstance(content, dict)
    return content


def test_only_what_the_filter_chooses_runs_and_the_manifest_has_everything(sweep: Sweep) -> None:
    answer = sweep("--filter", "num_experts == 4")
    assert (answer.code, answer.out.splitlines()[0]) == (0, "1 run started, 0 failed, 1 timed.")
    folder = SweepFolder(Path("results/small"))
    cells = read_manifest(folder).cells
    assert len(cells) == 3
    (done,), _ = read_statuses(folder)
    assert [cell.settings["model.ffn.num_experts"] for cell in cells if cell.run_id == done] == [4]
    assert {timing.run_id for timing in read_timings(folder)} == {done}
    again = sweep("--filter", "num_experts == 4")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("Nothing to do: 1 run done before.")
    rest = sweep()
    assert rest.out.splitlines()[0] == "2 runs started, 0 failed, 2 timed."
    assert len(read_statuses(folder)[0]) == 3


def test_a_filtered_plan(sweep: Sweep) -> None:
    answer = sweep("--dry-run", "--filter", "kind == 'dense' and seed > 0", seeds="[0, 1]")
    assert answer.code == 0
    assert "6 runs of 3 configurations: 1 to run, 5 left out by --filter." in answer.out
    assert "experts" not in answer.out
    content = plan(sweep("--dry-run", "--filter", "kind == 'dense' and seed > 0", "--json", seeds="[0, 1]"))
    assert [cell["action"] for cell in content["cells"]].count("leave") == content["totals"]["leave"] == 5
    (chosen,) = [cell for cell in content["cells"] if cell["action"] == "run"]
    assert (chosen["role"], chosen["seed"]) == ("dense", 1)
    assert content["totals"]["run"] == 1
    assert content["totals"]["untimed_configurations"] == 1
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("num_experts > 99", "--filter 'num_experts > 99' chooses none of 3 runs: num_experts is 2 or 4 or 1."),
        ("num_exprts > 2", "Did you mean 'num_experts'?"),
        ("num_experts >", "--filter: cannot be read from here on"),
        ("num_experts", "--filter: a filter is true or false, such as num_experts <= 16"),
    ],
)
def test_a_filter_that_is_none(sweep: Sweep, text: str, problem: str) -> None:
    answer = sweep("--filter", text)
    assert (answer.code, answer.out) == (2, "")
    assert problem in answer.err
    assert not Path("results").exists()


def test_an_amended_file_says_what_has_changed(sweep: Sweep) -> None:
    assert plan(sweep("--dry-run", "--json"))["amended"] is None
    first = sweep("--json")
    assert json.loads(first.out)["amended"] is None
    same = plan(sweep("--dry-run", "--json"))
    assert same["amended"] == {"added": 0, "kept": 3, "gone": 0, "on_other_text": 0}
    assert "Since" not in sweep("--dry-run").out
    more = "sweep.grid.model.ffn.num_experts=[4, 8, 16]"
    content = plan(sweep("--dry-run", more, "--json"))
    assert content["amended"] == {"added": 2, "kept": 2, "gone": 1, "on_other_text": 0}
    assert [cell["action"] for cell in content["cells"]].count("skip") == 2
    line = "+2 cells, 2 kept, 1 no longer in the file (its results stay until `switchbench prune`)."
    assert f"Since the last command: {line}" in sweep("--dry-run", more).out
    assert len(read_manifest(SweepFolder(Path("results/small"))).cells) == 3
    answer = sweep(more, "--json")
    assert f"small: {line}" in answer.err.splitlines()
    assert json.loads(answer.out)["amended"] == {"added": 2, "kept": 2, "gone": 1, "on_other_text": 0}
    assert plan(sweep("--dry-run", more, "--json"))["amended"] == {"added": 0, "kept": 4, "gone": 0, "on_other_text": 0}


def test_text_that_has_changed_is_said_and_never_mixed(sweep: Sweep) -> None:
    assert sweep().code == 0
    folder = SweepFolder(Path("results/small"))
    before = set(read_statuses(folder)[0])
    path = Path("corpus/part07.txt")
    path.write_text(path.read_text() + " and one more")
    content = plan(sweep("--dry-run", "--json"))
    assert content["amended"] == {"added": 3, "kept": 0, "gone": 3, "on_other_text": 3}
    answer = sweep()
    assert (
        "small: +3 cells, 0 kept, 3 no longer in the file (their results stay until `switchbench prune`); the text has "
        "changed since: 3 of them would run on other text than before, and results on different text are not compared."
    ) in answer.err.splitlines()
    asked = {cell.run_id for cell in read_manifest(folder).cells}
    assert len(asked) == 3
    assert asked.isdisjoint(before)
    assert set(read_statuses(folder)[0]) == asked | before, "nothing is lost, and nothing is taken for something else"
