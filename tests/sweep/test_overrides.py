"""KEY=VALUE on the command line."""

import pytest

TEXT = """\
schema: 1
name: x
question:
base:
  model: {ffn: {kind: sparse}}
  train: {tokens: 1e6}
sweep:
  grid:
    model.ffn.num_experts: [2, 4]
"""
GOOD = TEXT.replace("question:", "question: why")


def first(sweep):
    return sweep.cells[0].spec


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("base.train.tokens=3e5", lambda s: first(s).train.tokens, 300_000),
        ("base.train.learning_rate=1e-3", lambda s: first(s).train.learning_rate, 0.001),
        ("base.data.seq_len=64", lambda s: first(s).data.seq_len, 64),
        ("base.model={ffn: {kind: sparse, d_ff: 10}}", lambda s: first(s).model.ffn.d_ff, 10),
        ("base.model.ffn.capacity_factor=", lambda s: first(s).model.ffn.capacity_factor, None),
        ("name=y", lambda s: s.name, "y"),
        ("question=a=b", lambda s: s.question, "a=b"),
        ("sweep.seeds=[5, 6]", lambda s: [cell.spec.seed for cell in s.cells], [5, 6, 5, 6]),
        ("sweep.grid.model.ffn.num_experts=[8]", lambda s: [c.spec.model.ffn.num_experts for c in s.cells], [8]),
        ("sweep.grid.train.tokens=[1e5]", lambda s: s.axes, ("model.ffn.num_experts", "train.tokens")),
        ("sweep.grid={}", lambda s: len(s.cells), 1),
        ("sweep.grid.model.ffn.num_experts=", lambda s: (len(s.cells), s.axes), (1, ())),
        (
            "sweep.grid.train.tokens={values: [1e5], when: {model.ffn.num_experts: 2}}",
            lambda s: [first(s).train.tokens, s.cells[1].spec.train.tokens],
            [100_000, 1_000_000],
        ),
        (
            "sweep.zip=[{train.tokens: 1e5}, {train.tokens: 2e5}]",
            lambda s: [c.spec.train.tokens for c in s.cells],
            [100_000, 200_000] * 2,
        ),
        (
            "sweep.derive.train.tokens=1e4 * num_experts",
            lambda s: [c.spec.train.tokens for c in s.cells],
            [20_000, 40_000],
        ),
        ("sweep.constraints=[num_experts > 2]", lambda s: (len(s.cells), len(s.dropped)), (1, 1)),
        ("report={}", lambda s: s.primary, None),
        ("sweep.baselines=[iso_flop]", lambda s: [cell.role for cell in s.cells], ["sparse", "sparse", "dense"]),
    ],
)
def test_override(load, override, read, value):
    assert read(load(GOOD, override)) == value


def test_an_override_is_as_good_as_the_file(load):
    file = GOOD.replace("1e6", "2e6").replace("[2, 4]", "[4]")
    overridden = load(GOOD, "base.train.tokens=2e6", "sweep.grid.model.ffn.num_experts=[4]")
    assert overridden.cells == load(file).cells


def test_the_last_of_two_overrides_holds(load):
    assert first(load(GOOD, "base.train.tokens=1e5", "base.train.tokens=2e5")).train.tokens == 200_000


def test_an_override_mends_the_file_before_it_is_checked(load):
    assert load(TEXT, "question=why").question == "why"
    assert load("schema: 1\nname: x\nbase:\n", "base.train.tokens=1e5").cells


@pytest.mark.parametrize(
    ("override", "column", "message"),
    [
        ("base.train.tokens", 1, "'base.train.tokens' is not of the form KEY=VALUE, such as base.train.tokens=3e5"),
        ("", 1, "'' is not of the form KEY=VALUE"),
        ("=3", 1, "the key is empty"),
        ("base..tokens=3", 6, "the key 'base..tokens' has an empty part"),
        ("base.train.=3", 12, "has an empty part"),
        ("base.train.tokns=3", 12, "train.tokns is not a field. Did you mean 'tokens'?"),
        ("train.tokens=3", 1, "train is not a key. 'train' belongs in base."),
        ("base.train.tokens=many", 19, "train.tokens must be a whole number, got the text 'many'"),
        ("base.train.tokens=[1", 21, "not valid YAML: expected ',' or ']'"),
        ("base.train.tokens.x=3", 19, "'base.train.tokens' is 1e6, so there is no 'base.train.tokens.x' to set"),
        ("name.x=3", 6, "'name' is the text 'x', so there is no 'name.x' to set"),
        ("sweep.grid.model.ffn.num_expert=[1]", 12, "model.ffn.num_expert is not a field. Did you mean"),
        ("sweep.grid.model.ffn.num_experts=[1, 1.0]", 38, "has the value 1.0 twice"),
        ("sweep.grid.train.tokens=", 25, "train.tokens: an axis must be a list of values, such as [1, 2], got nothing"),
        ("sweep.derive.train.tokens=2 * d_fff", 31, "d_fff is not a field or a computed name. Did you mean 'd_ff'?"),
        ("sweep.zip=[{train.tokns: 1}]", 13, "train.tokns is not a field. Did you mean 'train.tokens'?"),
        ("sweep.constraints=[num_experts =< 2]", 32, "'=' is not allowed"),
        ("report.primary.dense=iso_flop", 8, "report.primary lacks the key sparse"),
        ("sweep.seeds=[0, -1]", 17, "a seed must be at least 0, got -1"),
        ("base.train={tokens: 1e6, tokens: 1e6}", 26, "duplicate key 'tokens'"),
        ("question=a\0", 11, "the character U+0000 is not allowed"),
        ("question=\udcff", 10, "the character U+DCFF is not allowed"),
        ("na\nme=x", 1, "the key 'na\\nme' must be text on one line"),
        (".".join("abcdefghijk") + "=1", 21, "the key has more than 10 parts"),
        ("base.data.seq_len=100", 19, "train.batch_tokens 4096 is not a multiple of data.seq_len 100"),
    ],
)
def test_problem(problems_of, override, column, message):
    problems = problems_of(GOOD, override)
    problem = problems[0]
    assert message in problem.message
    assert (problem.file, problem.line, problem.column) == ("command line", None, column)


def test_the_text_of_the_override_is_shown(problems_of):
    assert [str(problem) for problem in problems_of(TEXT, "base.train.tokns=3")] == [
        "sweep.yaml:3:1: question must be text, got nothing (null)\n    question:\n    ^",
        "command line: train.tokns is not a field. Did you mean 'tokens'?\n    base.train.tokns=3\n               ^",
    ]


def test_problems_come_in_the_order_of_file_then_overrides(problems_of):
    problems = problems_of(TEXT + "bad: 1\n", "b=1", "a=1")
    assert [problem.message.split()[0] for problem in problems] == ["question", "bad", "b", "a"]
