"""Pairs whose outcome is known beforehand."""

from pathlib import Path

import pytest

from switchbench.spec import DataIdentity
from switchbench.sweep import Control, TryEnd, choose, load_sweep
from tests.sweep.conftest import identify
from tests.sweep.marks import without_marks

ALIKE = "{name: alike, a: {kind: sparse, replicate: 0}, b: {kind: sparse, train.replicate: 1}, expect: none}"
HALF = "{name: half, a: {d_ff: 128, replicate: 1}, b: {d_ff: 64, replicate: 1}, expect: a}"
TEXT = f"""\
schema: 1
name: x
base: {{model: {{size: xxs, ffn: {{kind: sparse, num_experts: 8, d_ff: 32}}}}}}
sweep:
  grid:
    model.ffn.kind: [dense, sparse]
    model.ffn.d_ff: {{values: [128, 64], when: {{model.ffn.kind: dense}}}}
    train.replicate: [0, 1]
  baselines: [iso_flop]
report:
  controls:
    - {ALIKE}
    - {HALF}
"""


def ids(sweep) -> dict[tuple, str]:
    """The config_id of each configuration, by kind, d_ff and repetition."""
    return {
        (cell.kind, cell.spec.model.ffn.d_ff, cell.spec.train.replicate): cell.spec.config_id for cell in sweep.cells
    }


def test_the_two_sides_are_found(load):
    sweep = load(TEXT)
    named = ids(sweep)
    assert sweep.controls == (
        Control(name="alike", a=named["sparse", 32, 0], b=named["sparse", 32, 1], expect="none"),
        Control(name="half", a=named["dense", 128, 1], b=named["dense", 64, 1], expect="a"),
    )


def test_a_generated_twin_can_be_a_side_and_nothing_need_be_expected(load):
    sweep = load(
        TEXT, "report.controls=[{name: twin, a: {d_ff: 32, kind: dense, replicate: 1}, b: {d_ff: 64, replicate: 0}}]"
    )
    (control,) = sweep.controls
    assert control.a == ids(sweep)["dense", 32, 1]
    assert [cell.twins for cell in sweep.cells if cell.spec.config_id == control.a] == [
        {"iso_flop": (ids(sweep)["sparse", 32, 1],)}
    ]
    assert control.expect is None


def test_controls_can_be_taken_away_and_are_no_part_of_any_identity(load):
    without = [load(TEXT, "report.controls=[]"), load(TEXT, "report.controls="), load(TEXT.partition("report:")[0])]
    assert [sweep.controls for sweep in without] == [(), (), ()]
    assert {tuple(cell.spec.run_id for cell in sweep.cells) for sweep in [load(TEXT), *without]} == {
        tuple(cell.spec.run_id for cell in load(TEXT).cells)
    }


def test_tuned_configurations_are_found_once_their_values_are_known(load):
    sweep = load(TEXT, "sweep.tune={train.learning_rate: [1e-3, 2e-3, 4e-3]}")
    assert sweep.controls == ()
    ends = {
        cell.spec.run_id: TryEnd(status="ok", nll=abs(cell.spec.train.learning_rate - 2e-3)) for cell in sweep.cells
    }
    chosen = choose(sweep, ends)
    reported = {cell.spec.config_id: cell.spec for cell in chosen.cells if cell.role != "tuning"}
    assert [control.name for control in chosen.controls] == ["alike", "half"]
    assert {reported[c].train.learning_rate for control in chosen.controls for c in (control.a, control.b)} == {2e-3}
    all_failed = choose(sweep, {run_id: TryEnd(status="diverged", nll=None) for run_id in ends})
    assert all_failed.controls == ()


def test_the_experiments_name_what_they_compare():
    experiments = Path(__file__).parents[2] / "experiments"
    identical = load_sweep(experiments / "aa.yaml", identify=identify)
    assert [control.expect for control in identical.controls] == ["none", "none", "none", "a", "a"]
    specs = {cell.spec.config_id: cell.spec for cell in identical.cells}
    for control in identical.controls[:3]:
        a, b = specs[control.a], specs[control.b]
        assert (a.train.replicate, b.train.replicate) == (0, 1)
        assert a.model == b.model
        assert a.train.model_copy(update={"replicate": 1}) == b.train
    assert len(load_sweep(experiments / "precision.yaml", identify=identify).controls) == 4


PROBLEMS = [
    (ALIKE, "§3", "report.controls must be a mapping (name, a, b, expect), got 3"),
    (ALIKE, "§{name: alike, a: {}}", "a control of report.controls lacks the key b; it is such as {name: identical"),
    (ALIKE, "§{a: {kind: sparse, replicate: 0}, b: {kind: sparse, replicate: 1}}", "lacks the key name"),
    ("name: alike", "name: §3", "the name of a control must be text, got 3"),
    ("name: alike", "name: §''", "the name of a control must be 1 to 80 characters on one line"),
    (HALF, f"§{HALF.replace('half', 'alike')}", "report.controls has the name 'alike' twice"),
    ("expect: none", "expect: §nobody", "'alike': expect must be none (neither is better), a or b, got the text"),
    ("expect: none", "expect: §null", "expect must be none (neither is better), a or b"),
    ("expect: none", "§expected: a", "report.controls.expected is not a key"),
    ("a: {d_ff: 128, ", "a: {§d_f: 128, ", "report.controls: 'half', a: d_f is not a field. Did you mean 'd_ff'?"),
    ("a: {d_ff: 128, replicate: 1}", "a: §128", "report.controls: 'half', a must be a mapping of fields to values"),
    ("{d_ff: 128, ", "{d_ff: §96, ", "'half', a: no such configuration has model.ffn.d_ff 96; there: 128, 64, 32"),
    (
        ALIKE,
        "§{name: alike, a: {replicate: 0}, b: {kind: sparse, replicate: 1}}",
        "'alike', a must name one configuration, and this names 4; say which, by model.ffn.kind and model.ffn.d_ff",
    ),
    (
        ALIKE,
        "§{name: alike, a: {kind: sparse, replicate: 1}, b: {kind: sparse, replicate: 1}}",
        "a and b name the same configuration; two that are alike but for noise differ in train.replicate",
    ),
    ("  controls:\n", "  controls: §{}\n#", "report.controls: it must be a list of values, such as [{name: identical"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), PROBLEMS)
def test_problem(problems_of, old, new, message):
    assert old in TEXT
    text = TEXT.replace(old, new)
    if "controls: §{}" in text:
        text = text.partition("#")[0]
    text, places = without_marks(text)
    (problem,) = problems_of(text)
    assert [(problem.line, problem.column)] == places
    assert message in problem.message


def test_a_tuned_field_names_nothing(problems_of):
    text = TEXT.replace("  baselines:", "  tune: {train.learning_rate: [1e-3, 2e-3]}\n  baselines:")
    text, places = without_marks(text.replace("b: {d_ff: 64, ", "b: {learning_rate: §1e-3, d_ff: 64, "))
    (problem,) = problems_of(text)
    assert [(problem.line, problem.column)] == places
    assert problem.message == "report.controls: 'half': train.learning_rate is tuned; name it by an axis"


def test_nll_on_different_text_is_not_compared(problems_of):
    text = TEXT.replace("train.replicate: [0, 1]", "data.held_out_fraction: [0.01, 0.02]")
    text = text.replace("{kind: sparse, replicate: 0}", "{kind: sparse, held_out_fraction: 0.01}").replace(
        "{kind: sparse, train.replicate: 1}", "{kind: sparse, held_out_fraction: 0.02}"
    )
    text, _, _ = text.partition("    - {name: half")

    def identify(data):
        return DataIdentity(fingerprint=f"{data.held_out_fraction} of some text", vocab_size=256)

    (problem,) = problems_of(text, identify=identify)
    assert "'alike': a and b are evaluated on different text" in problem.message
