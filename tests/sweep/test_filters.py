"""Filters over cells: the same names as constraints, and null where a cell lacks a field."""

from pathlib import Path

import pytest

from switchbench.errors import ExpressionError
from switchbench.spec import DataIdentity
from switchbench.sweep import Sweep, load_sweep, parse_filter
from switchbench.sweep.names import COMPUTED, all_names, resolved_value
from tests.factories import make_spec

SWEEP = """\
schema: 1
name: few
base:
  model: {{ffn: {{kind: sparse}}}}
  train: {{tokens: 1e5}}
sweep:
  grid:
    model.ffn.num_experts: [2, 4, 8]
    model.ffn.capacity_factor: [1.0, null]
  seeds: [0, 1]
  baselines: [iso_flop]
  constraints: [{constraint}]
"""


def load(folder: Path, *, constraint: str) -> Sweep:
    path = folder / "few.yaml"
    path.write_text(SWEEP.format(constraint=constraint), encoding="utf-8")
    return load_sweep(path, identify=lambda data: DataIdentity(fingerprint="0123456789ab", vocab_size=256))


@pytest.mark.parametrize(
    "text",
    [
        "num_experts >= 4", "model.ffn.num_experts == 8", "params_total > 60000", "useful_train_flops < 1e12",
        "num_steps == 25", "vocab_size == 256 and d_model > 8", "capacity_factor == null", "router == 'switch'",
        "forward_flops_per_token * 3 > 100 and params_active <= 2 * params_non_embedding", "0.5 in anneal_at",
    ],
)  # fmt: skip
def test_on_sparse_cells_a_filter_is_a_constraint(tmp_path: Path, text: str) -> None:
    everything = load(tmp_path, constraint="num_layers >= 1")
    chosen = {
        cell.spec.run_id for cell in everything.cells if cell.role == "sparse" and parse_filter(text).chooses(cell.spec)
    }
    constrained = load(tmp_path, constraint=f'"{text}"')
    assert chosen == {cell.spec.run_id for cell in constrained.cells if cell.role == "sparse"}


@pytest.mark.parametrize(
    ("text", "sparse", "dense"),
    [
        ("num_experts >= 4", 8, 0),
        ("num_experts <= 4", 8, 2),  # a dense model is one of one expert
        ("capacity_factor >= 1", 6, 0),
        ("capacity_factor == null", 6, 2),  # dropless, or dense
        ("kind == 'dense'", 0, 2),
        ("kind == 'dense' or num_experts == 2", 4, 2),
        ("seed == 0", 6, 1),
        ("seed == 0 and model.ffn.kind == 'sparse'", 6, 0),
        ("top_k < 1 or not top_k >= 1", 0, 2),
        ("size == 'xxs'", 12, 2),
    ],
)
def test_cells_that_lack_a_field(tmp_path: Path, text: str, sparse: int, dense: int) -> None:
    chosen = [
        cell.role
        for cell in load(tmp_path, constraint="num_layers >= 1").cells
        if parse_filter(text).chooses(cell.spec)
    ]
    assert (chosen.count("sparse"), chosen.count("dense")) == (sparse, dense)


def test_every_name_has_a_value() -> None:
    spec = make_spec(num_experts=4)
    lacking = {name for name in (*all_names(), *COMPUTED, "seed") if resolved_value(name, spec) is None}
    assert {name.rpartition(".")[2] for name in lacking} == {
        "path", "hf_revision", "max_documents", "max_bytes", "tokenizer_path", "repeat",
        "eval_capacity_factor", "routing_group_tokens", "eval_tokens",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("num_expert > 1", "--filter: num_expert is not a field, .* or the seed. Did you mean 'num_experts'?"),
        ("blah > 1", "Computed names: vocab_size"),
        ("size > 3", "--filter: only numbers can be smaller or larger, got 'xxs'"),
        ("num_experts > ", "--filter: cannot be read from here on"),
        ("num_experts + 1", "--filter: a filter is true or false"),
    ],
)  # fmt: skip
def test_a_filter_that_is_none(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem.replace("?", r"\?")):
        parse_filter(text).chooses(make_spec(num_experts=4))


def test_the_values_that_there_are() -> None:
    specs = [make_spec(num_experts=number) for number in (4, 16)] + [make_spec()]
    assert parse_filter("num_experts > 99 and top_k == 9").describe_values(specs) == (
        "num_experts is 4 or 16 or 1; top_k is 1 or null"
    )
    many = [make_spec(num_experts=number) for number in range(2, 20)]
    assert parse_filter("num_experts > 99").describe_values(many).endswith("or 9 or one of 10 more")
