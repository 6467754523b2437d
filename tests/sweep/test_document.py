"""YAML 1.2 scalars, read without an object constructor."""

import pytest
from ruamel.yaml import YAML

from switchbench.sweep.document import Node, describe, parse, plain
from switchbench.sweep.source import Findings, Source


def read(text: str) -> Node:
    findings = Findings("x.yaml")
    node = parse(text, source=Source("x.yaml", text), findings=findings)
    findings.raise_if_any()
    assert node is not None
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("3.2e6", 3_200_000), ("1E3", 1000), (".5", 0.5), ("5.", 5), ("-0.0", 0), ("+1", 1),
        ("010", 10), ("0x1F", 31), ("0o17", 15), ("1.0", 1), ("~", None), ("null", None), ("true", True),
        ("False", False), ("yes", "yes"), ("off", "off"), ("y", "y"), ("1_000", "1_000"), ("1e", "1e"),
        ("'1'", "1"), ('"true"', "true"), ("2026-01-01", "2026-01-01"), ("nan", "nan"), ("١", "١"), ("|\n 1", "1"),
    ],
)  # fmt: skip
def test_scalar(text, value):
    got = plain(read(text))
    assert got == value
    assert type(got) is type(value)


def test_tree_equals_what_the_library_constructs():
    text = "a: {b: [1, 2.5, x], 'c d': null}\ne:\n- f: true\n  g: |\n    h\n- []\n"
    assert plain(read(text)) == YAML(typ="safe", pure=True).load(text)


def test_places_are_those_of_the_text():
    text = 'a: {b: [1, xy]}\n"c":\n  - é: zz\n'
    root = read(text)
    lines = text.split("\n")

    def check(node: Node) -> int:
        if isinstance(node.value, dict):
            for key, entry in node.value.items():
                assert lines[entry.place.line - 1][entry.place.column - 1 :].lstrip('"').startswith(key)
            return 1 + sum(check(entry.node) for entry in node.value.values())
        if isinstance(node.value, list):
            return 1 + sum(map(check, node.value))
        assert lines[node.place.line - 1][node.place.column - 1 :].startswith(node.text)
        return 1

    assert check(root) == 8


def test_describe_keeps_long_values_short():
    assert describe(read("x" * 500)) == f"the text '{'x' * 57}...'"
    assert describe(read("1." + "0" * 500)) == "1." + "0" * 35 + "..."
