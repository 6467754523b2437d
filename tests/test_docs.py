"""The README is correct because it is run: its commands, its code, its tables and its lists."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from switchbench.record import RunRecord, StepRecord, TimingRecord
from switchbench.spec import DataSpec, ModelSpec, SparseFFNSpec, TrainSpec

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:<!-- not run: ([a-z-]+) -->\n)?```(\w+)\n(.*?)```", README, flags=re.DOTALL)
RUN_BLOCKS = [(language, text) for reason, language, text in BLOCKS if not reason and language in ("bash", "python")]


def test_blocks_that_are_not_run_say_why() -> None:
    reasons = [reason for reason, _, _ in BLOCKS if reason]
    assert set(reasons) <= {"set-up", "test", "cluster", "network"}
    assert reasons.count("set-up") == 1
    assert reasons.count("test") == 1


def test_ci_calls_the_readmes_test_command() -> None:
    (command,) = [text.strip() for reason, _, text in BLOCKS if reason == "test"]
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def tree_paths(tree: str) -> set[str]:
    """The paths that an indented tree names; folders end in a slash."""
    paths: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name]
        paths.add("".join(folders))
    return paths


def test_the_tree_names_every_module() -> None:
    (tree,) = [text for _, language, text in BLOCKS if language == "text" and text.startswith("switchbench/")]
    named = tree_paths(tree)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "switchbench").rglob("*.py")}
    modules = {path for path in modules if not path.endswith("/__init__.py")}
    experiments = {f"experiments/{path.name}" for path in (ROOT / "experiments").glob("*.yaml")}
    assert {path for path in named if path.endswith((".py", ".yaml"))} >= modules | experiments
    for path in named:
        assert (ROOT / path).exists(), f"the README's tree names {path}, which is not there"


def columns_table() -> str:
    """The README's section on the columns, from the records themselves."""
    lines = []
    for title, record in (("runs", RunRecord), ("steps", StepRecord), ("timings", TimingRecord)):
        lines += [f"**`{title}`**", "", "| column | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {field.description} |" for name, field in record.model_fields.items()]
        lines.append("")
    return "\n".join(lines)


def fields_table() -> str:
    """The README's section on the fields of a run, from the specifications themselves."""
    lines = ["| field | default | meaning |", "|---|---|---|"]
    for path, spec in (("data", DataSpec), ("model", ModelSpec), ("model.ffn", SparseFFNSpec), ("train", TrainSpec)):
        for name, field in spec.model_fields.items():
            if name in ("kind", "ffn"):
                continue
            default = "" if field.is_required() else json.dumps(field.default)
            lines.append(f"| `{path}.{name}` | {default} | {field.description} |")
    return "\n".join(lines)


def test_the_fields_are_those_of_the_specifications() -> None:
    assert fields_table() in README, (
        "the README's fields are out of date; print the section with\n"
        "    python -c 'from tests.test_docs import fields_table; print(fields_table())'"
    )


def test_the_columns_are_those_of_the_records() -> None:
    assert columns_table().strip() in README, (
        "the README's columns are out of date; print the section with\n"
        "    python -c 'from tests.test_docs import columns_table; print(columns_table())'"
    )


def test_every_option_in_the_readme_exists() -> None:
    for command in ("sweep", "fit", "report", "cost", "status", "show", "prune", "generate"):
        offered = subprocess.run(
            [sys.executable, "-m", "switchbench", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"},
        ).stdout
        known = set(re.findall(r"--[a-z-]+", offered))
        for line in re.findall(rf"switchbench {command}[^`\n]*", README):
            for option in re.findall(r"(?<=\s)--[a-z-]+", line):
                assert option in known, f"`switchbench {command}` has no {option}: {line}"
        for option in known - {"--help"}:
            assert option in README, f"`switchbench {command} {option}` is not in the README"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a reader has, so that the README's commands write nothing into the checkout."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "experiments", folder / "experiments")
    shutil.copytree(ROOT / "results" / "reference", folder / "results" / "reference")
    return folder


@pytest.mark.docs
@pytest.mark.parametrize(("language", "text"), RUN_BLOCKS, ids=range(len(RUN_BLOCKS)))
def test_block_runs(language: str, text: str, workplace: Path) -> None:
    """Each block, in the order of the README, in one folder: later ones may use what earlier ones made."""
    command = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=workplace, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.docs
def test_the_result_table_is_what_the_report_prints(workplace: Path) -> None:
    """The README's result table, and other parts that are marked so, are the report's own."""
    shown = re.findall(r"<!-- (?:result table|from the report) -->\n```text\n(.*?)```", README, flags=re.DOTALL)
    assert len(shown) >= 2
    printed = subprocess.run(
        [sys.executable, "-m", "switchbench", "report", str(workplace / "results" / "reference")],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "120", "NO_COLOR": "1"},
    ).stdout
    *shown, printed = (re.sub(r" +$", "", text, flags=re.MULTILINE).strip() for text in (*shown, printed))
    for part in shown:
        assert part in printed, f"the README's table is out of date; the report prints\n{printed}"


def drawn(svg: Path) -> tuple[list[str], list[float]]:
    """What a drawing says, and where its lines go."""
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    paths = [element.attrib["d"] for element in root.iter("{http://www.w3.org/2000/svg}path")]
    return texts, [float(number) for path in paths for number in re.findall(r"-?[\d.]+", path)]


@pytest.mark.docs
def test_the_result_figure_is_what_the_report_draws(workplace: Path) -> None:
    """The README's figure is the report's own, on white, and small; another matplotlib may draw the same otherwise."""
    (place,) = re.findall(r"!\[[^]]{50,}\]\(([^)]+)\)", README)
    kept = ROOT / place
    assert kept.stat().st_size < 120_000
    assert "fill: #ffffff" in kept.read_text(encoding="utf-8")
    output = workplace / "drawn"
    arguments = ["results/reference", "--sweep", "capacity", "--format", "html", "--output", str(output)]
    command = [sys.executable, "-m", "switchbench", "report", *arguments]
    subprocess.run(command, cwd=workplace, capture_output=True, check=True)
    (made,) = output.rglob(kept.name)
    (kept_texts, kept_lines), (texts, lines) = drawn(kept), drawn(made)
    again = (
        f"the README's figure is out of date; draw it again with\n    switchbench report {' '.join(arguments[:-1])} DIR"
    )
    assert kept_texts == texts, again
    version = "Matplotlib v" + importlib.metadata.version("matplotlib")
    if version in kept.read_text(encoding="utf-8"):
        assert kept_lines == pytest.approx(lines, abs=0.05), again
