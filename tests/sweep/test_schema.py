"""The JSON Schema of sweep files: what is valid is valid to both, and an unknown key to neither."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from switchbench.sweep import file_schema
from switchbench.sweep.document import parse, plain
from switchbench.sweep.fields import FIELDS, SECTIONS, children
from switchbench.sweep.outline import ROOT_KEYS, SWEEP_KEYS
from switchbench.sweep.source import Findings, Source
from tests.sweep.marks import HEAD, SPARSE
from tests.sweep.test_identity import TREE
from tests.sweep.test_mutations import VALID

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))
VALIDATOR = Draft202012Validator(file_schema())


def tree_of(text: str) -> Any:
    findings = Findings("x.yaml")
    root = parse(text, source=Source("x.yaml", text), findings=findings)
    findings.raise_if_any()
    assert root is not None
    return plain(root)


def test_it_is_a_schema_and_json():
    Draft202012Validator.check_schema(file_schema())
    assert json.loads(json.dumps(file_schema(), allow_nan=False)) == file_schema()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_the_experiments_are_valid(path):
    assert [error.message for error in VALIDATOR.iter_errors(tree_of(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize("tree", [TREE, tree_of(VALID)], ids=["every key", "mutated"])
def test_what_the_program_takes_is_valid(tree):
    assert [error.message for error in VALIDATOR.iter_errors(tree)] == []


def test_it_knows_every_key_and_describes_every_field():
    schema = file_schema()
    assert list(schema["properties"]) == ROOT_KEYS
    assert list(schema["properties"]["sweep"]["properties"]) == SWEEP_KEYS
    for section in ("", *SECTIONS):
        mapping = schema["properties"]["base"]
        for name in section.split(".") if section else ():
            mapping = mapping["properties"][name]
        assert list(mapping["properties"]) == children(section)
    for path in FIELDS:
        assert schema["$defs"][path]["description"]


@pytest.mark.parametrize(
    "text",
    [
        "schema: 1\n",
        "schema: 2\nname: x\n",
        "schema: 1\nname: a/b\n",
        HEAD + "nmae: x\n",
        HEAD + "base: {modle: {}}\n",
        HEAD + "base: {model: {ffn: {kind: spares}}}\n",
        HEAD + "base: {train: {tokens: many}}\n",
        HEAD + "base: {train: {tokens: 0}}\n",
        SPARSE + "sweep: {grid: {num_experts: [1]}}\n",
        SPARSE + "sweep: {grid: {model.ffn.num_experts: 4}}\n",
        SPARSE + "sweep: {grid: {model.ffn.num_experts: {when: {model.size: xs}}}}\n",
        SPARSE + "sweep: {grid: {train.tokens: {values: [1e6], when: {model.size: big}}}}\n",
        SPARSE + "sweep: {zip: [{model.siz: xs}]}\n",
        SPARSE + "sweep: {derive: {train.tokens: 1e6}}\n",
        SPARSE + "sweep: {derive: {model.ffn.kind: a}}\n",
        SPARSE + "sweep: {constraints: [1]}\n",
        SPARSE + "sweep: {seeds: []}\n",
        SPARSE + "sweep: {tune: {train.learning_rate: [1e-2]}}\n",
        SPARSE + "sweep: {tune: {train.tokens: [1e6, 2e6]}}\n",
        SPARSE + "sweep: {tune_seeds: []}\n",
        SPARSE + "sweep: {baselines: [iso_flops]}\n",
        SPARSE + "report: {primary: {sparse: {num_expert: 4}, dense: iso_flop}}\n",
    ],
)
def test_what_the_program_refuses_for_itself_is_invalid(problems_of, text):
    assert problems_of(text)
    assert not VALIDATOR.is_valid(tree_of(text))
