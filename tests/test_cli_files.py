"""`switchbench validate`, `schema` and `init`, with the real command line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchbench import cli
from switchbench.launch.plan import expand_sweep, make_plan, write_plan_manifest
from switchbench.store import SweepFolder, read_manifest
from tests.sweep.test_schema import VALIDATOR, tree_of

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
SWEEP = """\
schema: 1
name: small
base:
  data: {corpus: text, path: corpus}
  model: {ffn: {kind: sparse}}
sweep:
  grid: {model.ffn.num_experts: [2, 4, 64]}
  derive: {train.tokens: 20 * params_active}
  constraints: [num_experts <= 16]
  seeds: [0, 1]
  baselines: [iso_flop, iso_total_params]
report:
  primary: {sparse: {num_experts: 4}, dense: iso_flop}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    for index in range(30):
        (tmp_path / "corpus" / f"{index}.txt").write_text(f"some text, number {index} of a few. " * 300)
    (tmp_path / "small.yaml").write_text(SWEEP)
    return tmp_path


@dataclass(frozen=True)
class Answer:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Answer]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in a folder, in this process."""

    def run(place: Path, *words: str) -> Answer:
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["switchbench", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return run


def test_the_commands_of_an_installed_program(place):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "switchbench", *words]
        return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, env=os.environ)

    assert [run("validate", name).returncode for name in ("small.yaml", "corpus/1.txt")] == [0, 2]
    assert run("init", "x.yaml").stdout == "Wrote x.yaml. Next: switchbench validate x.yaml\n"
    assert json.loads(run("schema").stdout)["type"] == "object"


def test_a_good_file_is_one_line(run, place):
    before = sorted(place.rglob("*"))
    ended = run(place, "validate", "small.yaml")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        "small.yaml: 12 runs of 6 configurations (2 sparse, 4 dense) with 2 seeds; constraints drop 1 configuration\n"
    )
    assert sorted(place.rglob("*")) == before


def test_a_good_file_as_json_and_settings(run, place):
    ended = run(place, "validate", "small.yaml", "sweep.seeds=[5]", "--json")
    answer = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr, answer["schema_version"]) == (0, "", 1)
    assert (answer["runs"], answer["configurations"], answer["seeds"]) == (6, 6, 1)
    (dropped,) = answer["dropped"]
    assert dropped["settings"] == {"model.ffn.num_experts": 64}
    assert dropped["reason"] == "num_experts <= 16 does not hold: num_experts 64"
    assert answer["primary"]["matched_on"] == "iso_flop"


def test_the_plan_says_what_is_dropped(run, place):
    ended = run(place, "sweep", "small.yaml", "--dry-run", "--no-calibrate")
    assert ended.returncode == 0
    assert ended.stdout.endswith(
        "Constraints drop 1 configuration:\n  num_experts 64: num_experts <= 16 does not hold: num_experts 64\n"
    )
    plan = json.loads(run(place, "sweep", "small.yaml", "--dry-run", "--no-calibrate", "--json").stdout)
    (dropped,) = plan["dropped"]
    assert dropped == {
        "settings": {"model.ffn.num_experts": 64},
        "constraint": "num_experts <= 16",
        "reason": "num_experts <= 16 does not hold: num_experts 64",
    }
    assert plan["totals"]["dropped_configurations"] == 1
    twins = [cell["twins"] for cell in plan["cells"] if cell["role"] == "dense" and cell["seed"] == 0]
    assert sorted(key for each in twins for key in each) == ["iso_flop"] * 2 + ["iso_total_params"] * 2


def test_a_long_list_of_dropped_configurations_is_cut(run, place):
    (place / "small.yaml").write_text(SWEEP.replace("[2, 4, 64]", str([2, 4, *range(20, 50)])))
    lines = run(place, "sweep", "small.yaml", "--dry-run", "--no-calibrate").stdout.splitlines()
    assert lines[-22] == "Constraints drop 30 configurations:"
    assert lines[-1] == "  and 10 more; --json lists them all"


def test_the_manifest_holds_the_twins_by_reason_and_the_pair(place, monkeypatch):
    monkeypatch.chdir(place)
    sweep = expand_sweep("small.yaml")
    folder = SweepFolder(place / "results" / "small")
    folder.create()
    write_plan_manifest(make_plan(sweep, folder=folder))
    manifest = read_manifest(folder)
    assert [cell.twins for cell in manifest.cells] == [cell.twins for cell in sweep.cells]
    assert sweep.primary is not None
    assert manifest.primary is not None
    assert vars(sweep.primary) == manifest.primary.model_dump()


def test_a_bad_file_is_all_its_problems(run, place):
    (place / "small.yaml").write_text(SWEEP.replace("params_active", "params_activ").replace("iso_flop,", "iso_flo,"))
    ended = run(place, "validate", "small.yaml")
    assert (ended.returncode, ended.stdout) == (2, "")
    lines = ended.stderr.splitlines()
    assert lines[0].startswith("small.yaml:8:31: train.tokens: params_activ is not a field or a computed name. Did you")
    assert lines[1:3] == ["      derive: {train.tokens: 20 * params_activ}", "                                  ^"]
    assert any(line.startswith("small.yaml:11:15: the text 'iso_flo' is not a baseline") for line in lines)
    assert "Traceback" not in ended.stderr


def test_the_experiments_are_valid(run):
    for path in EXPERIMENTS:
        ended = run(path.parents[1], "validate", f"experiments/{path.name}")
        assert ended.returncode == 0, ended.stderr


def test_the_schema_is_json_alone(run, place):
    ended = run(place, "schema")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_starter_is_valid_and_never_written_over_a_file(run, place):
    ended = run(place, "init", "my experts.yaml")
    assert ended.returncode == 0, ended.stderr
    validated = run(place, "validate", "my experts.yaml", "base.data.corpus=text", "base.data.path=corpus")
    assert validated.stdout == "my experts.yaml: 20 runs of 5 configurations (4 sparse, 1 dense) with 4 seeds\n"
    text = (place / "my experts.yaml").read_text()
    assert 'name: "my_experts"' in text
    assert "switchbench validate 'my experts.yaml'" in text
    again = run(place, "init", "my experts.yaml")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "error: my experts.yaml is there already, and is left as it is; choose another name\n"
    assert (place / "my experts.yaml").read_text() == text


@pytest.mark.parametrize("uncommented", ["zip", "derive", "constraints", "train.weight_decay", "all"])
def test_what_the_starter_comments_out_is_valid_too(run, place, uncommented):
    """Take the comment signs off a block, as a user would; the pair then needs more values to be one."""
    assert run(place, "init", "x.yaml").returncode == 0
    lines, is_inside = [], False
    for line in (place / "x.yaml").read_text().splitlines():
        bare = line.replace("# ", "", 1) if line.startswith("  ") else line
        is_head = bare.strip().startswith((uncommented, "zip:", "derive:", "constraints:", "train.weight_decay"))
        if line.lstrip().startswith("#") and line.startswith("  ") and is_head:
            is_inside = uncommented == "all" or bare.strip().startswith(uncommented)
        elif not line.lstrip().startswith("#"):
            is_inside = False
        lines.append(bare if is_inside else line)
    text = "\n".join(lines) + "\n"
    assert text != (place / "x.yaml").read_text()
    (place / "x.yaml").write_text(text)
    ended = run(place, "validate", "x.yaml", "report={}", "base.data.corpus=text", "base.data.path=corpus")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reference.yaml", "name 'reference' is reserved for the committed reference results; choose another name"),
        ("missing/x.yaml", "missing/x.yaml cannot be written: No such file or directory"),
        ("corpus", "corpus is there already"),
        ("é.yaml", "error"),
    ],
)
def test_a_starter_that_cannot_be_written(run, place, name, message):
    ended = run(place, "init", name)
    if name == "é.yaml":  # letters that a folder's name does not take are replaced
        assert ended.returncode == 0
        assert 'name: "_"' in (place / name).read_text(encoding="utf-8")
        return
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr


def test_a_starter_may_look_like_a_number(run, place):
    assert run(place, "init", "2024.yaml").returncode == 0
    assert run(place, "validate", "2024.yaml", "base.data.corpus=text", "base.data.path=corpus").returncode == 0


def test_the_sweep_files_in_the_readme_are_valid(run, place):
    texts = re.findall(r"```yaml\n(schema: 1\n.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(texts) >= 2
    for text in texts:
        name = re.search(r"name: (\w+)", text)[1]
        (place / f"{name}.yaml").write_text(text)
    for path in sorted(place.glob("*.yaml")):
        ended = run(place, "validate", path.name, "base.data.corpus=text", "base.data.path=corpus")
        assert ended.returncode == 0, ended.stderr
        assert VALIDATOR.is_valid(tree_of(path.read_text(encoding="utf-8")))
