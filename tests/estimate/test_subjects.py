"""What costs can be asked for, and what is said of anything else."""

from pathlib import Path

import pytest

from switchbench.cost import cost_of
from switchbench.errors import SweepFileError, UsageError
from switchbench.estimate import Request, estimate, estimates_json
from switchbench.estimate.subjects import Subject, find_subjects
from switchbench.spec import DataIdentity, DataSpec
from switchbench.sweep import describe_cell, load_sweep

SWEEP = """\
schema: 1
name: few
base:
  data: {corpus: text, path: nowhere, seq_len: 32}
  model: {size: xxs, ffn: {kind: sparse, num_experts: 2, routing_group_tokens: 64}}
  train: {tokens: 8192, batch_tokens: 512, precision: bfloat16}
sweep:
  grid: {model.ffn.num_experts: [2, 4]}
  seeds: [0, 1]
  baselines: [iso_flop]
"""


def identify(data: DataSpec) -> DataIdentity:
    return DataIdentity(fingerprint="no corpus here", vocab_size=100)


def find(*asked: str) -> tuple[Subject, ...]:
    return find_subjects(asked, identify=identify)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("few.yaml").write_text(SWEEP, encoding="utf-8")
    return "few.yaml"


def test_each_configuration_of_a_sweep_once_by_the_plans_name(file: str) -> None:
    found = find(file)
    cells = load_sweep(Path(file), identify=identify).cells
    assert [each.name for each in found] == list(dict.fromkeys(describe_cell(cell) for cell in cells))
    assert [each.name for each in found] == ["2 experts", "4 experts", "dense"]
    assert {each.sweep for each in found} == {"few"}
    rows = estimates_json(estimate([file, "xs"], identify=identify))["models"]
    assert [row["config_id"] for row in rows] == [*dict.fromkeys(cell.spec.config_id for cell in cells), None]
    assert {each.architecture.vocab_size for each in found} == {100}


def test_what_is_tuned_changes_no_costs_and_adds_no_models(file: str) -> None:
    names = [subject.name for subject in find(file, "sweep.tune.train.learning_rate=[5e-3, 1e-2]")]
    assert names == [subject.name for subject in find(file)]


def test_settings_go_with_the_file_before_them(file: str) -> None:
    found = find("xs", file, "base.data.seq_len=64", "sweep.grid.model.ffn.num_experts=[8]", "xs", file)
    assert [each.name for each in found] == [
        "xs", "few: 8 experts", "few: dense", "xs", "few: 2 experts", "few: 4 experts", "few: dense",
    ]  # fmt: skip
    assert [each.sequence_tokens for each in found] == [128, 64, 64, 128, 32, 32, 32]


def test_a_sweeps_own_batch_and_precision_hold_where_no_others_are_asked_for(file: str) -> None:
    own, *_ = estimate([file], identify=identify)
    assert (own.batch_tokens, own.precision, own.subject.capacity_factor) == (512, "bfloat16", 1.25)
    assert own.subject.spec is not None
    assert own.memory == cost_of(own.subject.spec).memory  # what the plan says
    other, *_ = estimate([file], identify=identify, request=Request(batch_tokens=64, precision="float32"))
    assert (other.batch_tokens, other.precision) == (64, "float32")
    assert other.memory.activations.weight_copies == 0 < own.memory.activations.weight_copies


def test_a_batch_is_whole_routing_groups(file: str) -> None:
    with pytest.raises(UsageError, match=r"no whole number of routing groups: one of '2 experts' has 64.* 64 or 128"):
        estimate([file], identify=identify, request=Request(batch_tokens=96))
    with pytest.raises(UsageError, match=r"routing groups: one of '2 experts' has 512 tokens; the nearest is 512$"):
        estimate([file, "base.model.ffn.routing_group_tokens=512"], identify=identify, request=Request(batch_tokens=64))


@pytest.mark.parametrize(
    "name", ["t5-bse", "xxs-0", "xxs-x", "xxs-65537", "xxs-", "xl", "", "XS", "xs-²", "\0", "x" * 5000]
)
def test_an_unknown_model_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r"neither a model nor a sweep file.* Known are the sizes xxs, .*t5-base"):
        find(name)


def test_names_that_differ_in_a_number_alone_are_not_all_listed() -> None:
    with pytest.raises(UsageError, match=r"t5-xxl, switch-base-2 \.\.\. switch-base-256, switch-large-128, switch-xxl"):
        find("none")


def test_a_misspelt_model_is_asked_about() -> None:
    with pytest.raises(UsageError, match="Did you mean 't5-base'"):
        find("t5-bse")


@pytest.mark.parametrize("asked", [["base.train.tokens=5"], ["xs", "base.train.tokens=5"], ["="]])
def test_settings_without_a_file_are_refused(asked: list[str]) -> None:
    with pytest.raises(UsageError, match="is a setting of a sweep file, and follows none; write FILE KEY=VALUE"):
        find(*asked)


def test_problems_of_a_file_come_with_their_place(file: str) -> None:
    with pytest.raises(SweepFileError, match=r"base\.train\.tokns"):
        find(file, "base.train.tokns=5")
    with pytest.raises(SweepFileError, match=r"absent\.yaml"):
        find("absent.yaml")


def test_a_file_may_have_any_name(file: str) -> None:
    for name in ("sweep", "a=b", "t5-base.txt"):
        Path(file).rename(name)
        assert len(find(name)) == 3
        Path(name).rename(file)
