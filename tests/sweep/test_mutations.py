"""Whatever a file says, the answer is a sweep or its problems, never a traceback."""

import re
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchbench.errors import Problem, SweepFileError
from switchbench.spec import DataIdentity
from switchbench.sweep import load_sweep

VALID = """\
schema: 1
name: mutated
question: "What survives?"   # a comment
base:
  data: {corpus: python-stdlib, seq_len: 128, held_out_fraction: 0.02}
  model:
    size: xs
    num_layers: 2
    tied_output: true
    ffn:
      kind: sparse
      num_experts: 8
      capacity_factor: 1.25
  train: {tokens: 3.2e6, batch_tokens: 4096, betas: [0.9, 0.95], anneal_at: [0.5, 1.0]}
sweep:
  grid:
    model.ffn.num_experts: [4, 16]
    model.ffn.kind: [dense, sparse]
    train.weight_decay: {values: [0.2], when: {model.ffn.kind: sparse}}
  zip:
    - {train.learning_rate: 1e-3, data.seq_len: 64}
    - {train.learning_rate: 1e-2, data.seq_len: 128}
  derive:
    train.tokens: 20 * params_active
    train.eval_points: max(3, num_steps // 1000)
    model.ffn.d_ff: round(d_model * 3.5)
  constraints: [num_experts * d_ff <= 65536, 'params_total < 1e7 or size == null']
  seeds: [0]
  tune: {train.gradient_clip: [0.5, 1.0], model.init_scale: [1, 0.1]}
  tune_seeds: [7]
  baselines: [iso_flop, iso_active_params, iso_total_params]
report:
  primary: {sparse: {num_experts: 16, weight_decay: 0.2, seq_len: 64, learning_rate: 1e-3}, dense: iso_flop}
  controls:
    - {name: more, a: {num_experts: 16, seq_len: 64}, b: {num_experts: 4, seq_len: 64}, expect: none}
"""
LINES = VALID.splitlines(keepends=True)
TOKENS = [
    *"[]{}:,-#&*!|>'\"%@`?\t\n .~0_\0é\u2028\ufeff",
    "null", "true", "1e999", ".nan", "-1", "9" * 30, "<<: ", "kind: dense", "- ", ": ", "---\n", "%YAML 1.1\n",
    '"\\UFFFFFFFF"', "extends: sweep.yaml\n", "extends: .\n", " ** 999", "params_active", " and ", "(", "when: {",
    "model.d_model", "d_ff / 0", "iso_total_params", "== 'x'",
]  # fmt: skip
KEYS = [
    "base.train.tokens", "sweep.grid", "sweep.grid.model.ffn.kind", "name", "base", "", "a.b", "sweep.zip", "extends",
    "sweep.derive", "sweep.derive.model.d_model", "sweep.constraints", "report.primary.sparse.num_experts", "report",
    "sweep.tune", "sweep.tune.train.gradient_clip", "sweep.tune_seeds", "report.controls",
]  # fmt: skip


def test_the_file_to_be_mutated_is_valid() -> None:
    assert load(VALID.encode(), []) == []


def load(content: bytes, overrides: list[str]) -> list[Problem]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sweep.yaml")
        path.write_bytes(content)
        problems = []
        try:
            sweep = load_sweep(path, overrides=overrides, identify=lambda data: DataIdentity("0123456789ab", 256))
        except SweepFileError as error:
            problems = error.problems
            str(error).encode()  # no half characters that a terminal would choke on
        else:
            assert sweep.cells
            return []
    assert problems
    lines = re.split("\r\n|[\n\r]", content.decode("utf-8-sig", errors="replace"))
    for problem in problems:
        assert problem.message
        if problem.file == "command line":
            assert (problem.line, problem.column is None) == (None, False)
            continue
        assert problem.file == str(path)
        if problem.line is not None:
            assert problem.column is not None
            assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
    return problems


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = VALID
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["delete", "insert", "replace", "line", "swap"])):
            case "delete":
                text = text[:start] + text[start + draw(st.integers(1, 12)) :]
            case "insert":
                text = text[:start] + draw(st.sampled_from(TOKENS)) + text[start:]
            case "replace":
                text = text[:start] + draw(st.sampled_from(TOKENS)) + text[start + 1 :]
            case "line":
                lines = text.splitlines(keepends=True)
                text = text[:start] + draw(st.sampled_from(lines or LINES)) + text[start:]
            case "swap":
                lines = text.splitlines(keepends=True)
                one = draw(st.integers(0, max(len(lines) - 1, 0)))
                text = "".join(lines[one:] + lines[:one])
    return text


@settings(max_examples=1000, deadline=None)
@given(text=mutated())
@example(text=VALID)
def test_mutated_file(text: str) -> None:
    load(text.encode(), [])


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=60))
def test_bytes(content: bytes) -> None:
    load(content, [])


@settings(max_examples=150, deadline=None)
@given(
    key=st.sampled_from(KEYS),
    value=st.one_of(st.text(max_size=20), st.sampled_from(TOKENS), st.sampled_from(LINES)),
)
def test_mutated_override(key: str, value: str) -> None:
    load(VALID.encode(), [f"{key}={value}"])
