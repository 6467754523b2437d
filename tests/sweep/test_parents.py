"""Files that extend others."""

from pathlib import Path

import pytest

from switchbench.errors import SweepFileError
from switchbench.sweep import load_sweep
from tests.sweep.conftest import identify
from tests.sweep.marks import without_marks

PARENT = """\
schema: 1
name: parent
question: What is the same?
base:
  model: {size: xs, ffn: {kind: sparse, num_experts: 8}}
  train: {tokens: 1e6}
sweep:
  grid:
    model.ffn.num_experts: [4, 8]
    train.learning_rate: [1e-3, 1e-2]
  derive: {train.eval_points: 2 + 3}
  seeds: [0, 1]
  baselines: [iso_flop]
"""
CHILD = "schema: 1\nname: child\nextends: parents/parent.yaml\n"


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    path = tmp_path / "parents" / "parent.yaml"
    path.parent.mkdir()
    path.write_text(PARENT)
    return path


def test_a_child_has_all_that_its_parent_has_but_the_name(load, parent):
    child = load(CHILD)
    alone = load(PARENT)
    assert (child.name, child.question, child.file) == ("child", "What is the same?", "sweep.yaml")
    assert child.cells == alone.cells


def test_mappings_are_merged_and_everything_else_is_replaced(load, parent):
    sweep = load(
        CHILD + "question: What differs?\n"
        "base: {model: {ffn: {capacity_factor: 2}}, train: {weight_decay: 0.2}}\n"
        "sweep: {grid: {train.batch_tokens: [2048], model.ffn.num_experts: [16]}, seeds: [5], baselines: []}\n"
    )
    assert sweep.question == "What differs?"
    assert sweep.axes == ("model.ffn.num_experts", "train.learning_rate", "train.batch_tokens")
    assert [cell.settings["train.learning_rate"] for cell in sweep.cells] == [0.001, 0.01]
    for cell in sweep.cells:
        spec = cell.spec
        assert (spec.model.size, spec.model.ffn.num_experts, spec.model.ffn.capacity_factor) == ("xs", 16, 2)
        assert (spec.train.tokens, spec.train.batch_tokens, spec.train.weight_decay) == (1_000_000, 2048, 0.2)
        assert (spec.seed, spec.train.eval_points) == (5, 5)


def test_null_takes_an_axis_and_a_derived_value_away_and_is_a_value_elsewhere(load, parent):
    sweep = load(
        CHILD + "sweep: {grid: {train.learning_rate: null}, derive: {train.eval_points: }}\n"
        "base: {model: {ffn: {capacity_factor: null}}}\n"
    )
    assert sweep.axes == ("model.ffn.num_experts",)
    assert {cell.spec.train.eval_points for cell in sweep.cells} == {10}
    assert {cell.spec.model.ffn.capacity_factor for cell in sweep.cells if cell.role == "sparse"} == {None}


def test_settings_of_the_command_line_come_after_all_parents(load, parent):
    (parent.parent / "middle.yaml").write_text("schema: 1\nextends: parent.yaml\nbase: {train: {tokens: 2e6}}\n")
    text = CHILD.replace("parent.yaml", "middle.yaml")
    assert {cell.spec.train.tokens for cell in load(text).cells} == {2_000_000}
    assert {cell.spec.train.tokens for cell in load(text, "base.train.tokens=3e6").cells} == {3_000_000}


def test_problems_stand_in_the_file_that_has_them(problems_of, parent):
    parent.write_text(PARENT.replace("1e6", "many").replace("iso_flop", "iso_flops"))
    problems = problems_of(CHILD + "base: {train: {warmup_fraction: 2}}\nnmae: x\n", "bad=1")
    assert [(problem.file, problem.line, problem.column) for problem in problems] == [
        ("sweep.yaml", 4, 33),
        ("sweep.yaml", 5, 1),
        ("parents/parent.yaml", 6, 19),
        ("parents/parent.yaml", 13, 15),
        ("command line", None, 1),
    ]
    assert problems[2].source == "  train: {tokens: many}"


def test_a_value_that_the_child_replaces_is_not_checked(load, parent):
    parent.write_text(PARENT.replace("1e6", "many"))
    assert load(CHILD + "base: {train: {tokens: 1e6}}\n").cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            CHILD.replace("parents/parent", "§parents/parnet"),
            "there is no such file. Did you mean 'parents/parent.yaml'?",
        ),
        (CHILD.replace("parents/parent.yaml", "§parents"), "parents: this is a folder"),
        (
            CHILD.replace("parents/parent.yaml", "§[a]"),
            "extends must be the path of a sweep file, from this file's folder",
        ),
        (CHILD.replace("parents/parent.yaml", '§""'), "extends must be the path of a sweep file"),
        (CHILD.replace("parents/parent.yaml", "§sweep.yaml"), "a circle: sweep.yaml → sweep.yaml"),
        (CHILD.replace("parents/parent.yaml", "§parents/../sweep.yaml"), "extends makes a circle"),
    ],
)
def test_a_parent_that_is_none(problems_of, parent, text, message):
    text, places = without_marks(text)
    (problem,) = problems_of(text)
    assert (problem.file, [(problem.line, problem.column)]) == ("sweep.yaml", places)
    assert message in problem.message


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("", 1, "is empty"),
        ("- a\n", 1, "a sweep file must be a mapping, got a list"),
        ("schema: 1\nbase: [\n", 3, "not valid YAML"),
        ("schema: 7\n", 1, "schema must be 1, the one version"),
        ("schema: 1\nextends: ../sweep.yaml\n", 2, "a circle: sweep.yaml → parents/parent.yaml → sweep.yaml"),
    ],
)
def test_a_parent_with_a_problem(problems_of, parent, content, line, message):
    parent.write_text(content)
    (problem,) = problems_of(CHILD)
    assert (problem.file, problem.line) == ("parents/parent.yaml", line)
    assert message in problem.message.replace("parents/../", "")


def test_a_parent_without_a_schema_and_a_child_without_its_own_keys(problems_of, parent):
    parent.write_text("base: {}\n")
    (problem,) = problems_of(CHILD)
    assert problem.message == "parents/parent.yaml: the key `schema` is missing there"
    parent.write_text(PARENT)
    problems = problems_of("extends: parents/parent.yaml\n")
    assert sorted(problem.message[:20] for problem in problems) == ["the key `name` is mi", "the key `schema: 1` "]


def test_extends_is_no_setting_of_the_command_line(problems_of, parent):
    (problem,) = problems_of(CHILD, "extends=parents/parent.yaml")
    assert "extends is resolved before settings from the command line" in problem.message


def test_a_long_chain_of_parents(tmp_path: Path):
    for index in range(12):
        extends = f"extends: {index + 1}.yaml\n" if index < 11 else ""
        (tmp_path / f"{index}.yaml").write_text(f"schema: 1\nname: x{index}\n{extends}")
    assert load_sweep(tmp_path / "2.yaml", identify=identify).name == "x2"
    with pytest.raises(SweepFileError, match="more than 10 files extend each other"):
        load_sweep(tmp_path / "0.yaml", identify=identify)
