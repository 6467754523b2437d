"""Axes that are zipped, and axes that are kept off some cells."""

import itertools

import pytest

from tests.sweep.marks import HEAD, SPARSE, without_marks

ZIPPED = (
    SPARSE
    + """\
sweep:
  grid:
    model.ffn.num_experts: [4, 16]
  zip:
    - {model.size: xs, train.learning_rate: 1e-2}
    - {train.learning_rate: 5e-3, model.size: s}
  seeds: [0, 1]
"""
)


def settings_of(sweep):
    return [{key: value for key, value in cell.settings.items() if key != "seed"} for cell in sweep.cells]


def test_rows_of_a_zip_multiply_the_grid_as_wholes(load):
    sweep = load(ZIPPED)
    assert sweep.axes == ("model.ffn.num_experts", "model.size", "train.learning_rate")
    expected = [
        {"model.ffn.num_experts": experts, "model.size": size, "train.learning_rate": rate}
        for experts, (size, rate) in itertools.product([4, 16], [("xs", 0.01), ("s", 0.005)])
    ]
    assert settings_of(sweep) == [row for row in expected for _ in (0, 1)]
    for cell in sweep.cells:
        assert (cell.spec.model.size, cell.spec.train.learning_rate) in [("xs", 0.01), ("s", 0.005)]


def test_a_zip_alone_and_a_zip_taken_away(load):
    assert len(load(ZIPPED, "sweep.grid={}", "sweep.seeds=[0]").cells) == 2
    assert len(load(ZIPPED, "sweep.zip=[]", "sweep.seeds=[0]").cells) == 2


def test_sparse_only_fields_of_a_zip_do_not_multiply_dense_cells(load):
    text = HEAD + (
        "sweep:\n  grid: {model.ffn.kind: [dense, sparse]}\n"
        "  zip: [{model.ffn.num_experts: 4, model.ffn.capacity_factor: 1}, "
        "{model.ffn.num_experts: 8, model.ffn.capacity_factor: 2}]\n"
    )
    assert [cell.role for cell in load(text).cells] == ["dense", "sparse", "sparse"]


def test_rows_of_a_zip_that_are_equal_for_a_dense_cell_are_one(load):
    rows = [("dense", 4), ("dense", 8), ("sparse", 8)]
    text = ", ".join(f"{{model.ffn.kind: {kind}, model.ffn.num_experts: {experts}}}" for kind, experts in rows)
    assert [cell.role for cell in load(HEAD + f"sweep: {{zip: [{text}]}}\n").cells] == ["dense", "sparse"]


def test_the_kind_itself_may_be_on_a_conditional_axis(load):
    text = HEAD + (
        "sweep: {grid: {model.ffn.kind: {values: [sparse, dense], when: {model.size: xs}}, model.size: [xs, xxs]}}\n"
    )
    assert [(c.role, c.spec.model.size) for c in load(text).cells] == [
        ("sparse", "xs"),
        ("dense", "xxs"),
        ("dense", "xs"),
    ]


CONDITIONAL = HEAD + (
    "base: {train: {weight_decay: 0.2}}\nsweep:\n  grid:\n"
    "    train.weight_decay: {values: [0.0, 0.1], when: {model.ffn.kind: sparse, model.ffn.num_experts: [8, 16]}}\n"
    "    model.ffn.kind: [dense, sparse]\n    model.ffn.num_experts: [4, 8, 16]\n"
)


def test_when_keeps_an_axis_off_other_cells(load):
    sweep = load(CONDITIONAL)
    cells = [
        (cell.role, getattr(cell.spec.model.ffn, "num_experts", None), cell.spec.train.weight_decay)
        for cell in sweep.cells
    ]
    assert sorted(cells, key=str) == sorted(
        [("dense", None, 0.2), ("sparse", 4, 0.2)]
        + [("sparse", experts, decay) for experts in (8, 16) for decay in (0.0, 0.1)],
        key=str,
    )


def test_conditions_look_at_the_base_at_defaults_and_at_what_the_size_fills_in(load):
    for condition, points in (
        ("model.d_model: 64", {"xs": 2, "xxs": 1}),
        ("model.d_model: 32", {"xs": 1, "xxs": 2}),
        ("model.ffn.d_ff: [256, 1]", {"xs": 2, "xxs": 1}),
        ("train.batch_tokens: [4096, 8192]", {"xs": 2, "xxs": 2}),
        ("data.corpus: python-stdlib", {"xs": 2, "xxs": 2}),
        ("train.tokens: 2e6, model.size: xs", {"xs": 2, "xxs": 1}),
    ):
        text = HEAD + (
            "base: {train: {tokens: 2e6}}\nsweep: {grid: {train.weight_decay: "
            f"{{values: [0, 0.2], when: {{{condition}, model.ffn.kind: dense}}}}, model.size: [xs, xxs]}}}}\n"
        )
        sizes = [cell.spec.model.size for cell in load(text).cells]
        assert {size: sizes.count(size) for size in points} == points, condition


def test_a_condition_may_speak_of_a_conditional_axis(load):
    text = HEAD + (
        "sweep:\n  grid:\n"
        "    train.eval_points: {values: [1, 2], when: {train.weight_decay: 0.5}}\n"
        "    train.weight_decay: {values: [0.4, 0.5], when: {model.size: s}}\n"
        "    model.size: [xs, s]\n"
    )
    got = [(c.spec.model.size, c.spec.train.weight_decay, c.spec.train.eval_points) for c in load(text).cells]
    assert sorted(got) == [("s", 0.4, 10), ("s", 0.5, 1), ("s", 0.5, 2), ("xs", 0.1, 10)]


GRID = "sweep: {grid: {model.ffn.num_experts: [4]"
PROBLEMS = [
    (
        HEAD + "sweep: {grid: {§model.ffn.kind: {values: [dense, sparse], when: {model.ffn.num_experts: 8}}}}\n",
        ["the conditions of model.ffn.kind depend on whether it is there"],
    ),
    (SPARSE + "sweep: {zip: §3}\n", ["sweep.zip: it must be a list of values, such as [{model.size: xs"]),
    (
        SPARSE + "sweep: {zip: [§3, §{}, §[1]]}\n",
        ["a row must be a mapping of fields to values", "got an empty mapping", "got a list"],
    ),
    (
        SPARSE + "sweep:\n  zip:\n    - {model.size: xs, train.tokens: 1e6}\n    - §{model.size: s}\n"
        "    - {model.size: m, train.tokens: 1e7, §data.seq_len: 64}\n",
        ["row 2 lacks train.tokens, which the first row has", "row 3 has data.seq_len, which the first row lacks"],
    ),
    (
        SPARSE + "sweep: {zip: [{§model.siz: xs, train.tokens: §x}]}\n",
        ["model.siz is not a field. Did you mean 'model.size'?", "train.tokens must be a whole number, got the text"],
    ),
    (
        SPARSE + "sweep: {zip: [{model.size: xs, train.tokens: 1e6}, §{train.tokens: 1000000, model.size: xs}]}\n",
        ["sweep.zip has this row twice: train.tokens: 1000000, model.size: xs"],
    ),
    (
        SPARSE + GRID + "}, zip: [{§model.ffn.num_experts: 8}, {model.ffn.num_experts: 2}]}\n",
        ["model.ffn.num_experts is an axis of sweep.grid as well; it can vary in one of them alone"],
    ),
    (HEAD + "sweep: {zip: [{§model.ffn.num_experts: 8}]}\n", ["is a field of sparse FFNs alone"]),
    (
        HEAD + "sweep: {grid: {§train.tokens: {when: {model.size: xs}}, train.eval_points: {values: [1], §wen: 3}}}\n",
        ["an axis with conditions is {values: [1, 2], when:", "sweep.grid.train.eval_points.wen is not a key. Did you"],
    ),
    (
        HEAD + "sweep: {grid: {train.tokens: {values: §3, when: §3}, train.eval_points: {values: [1], when: §{}}}}\n",
        [
            "train.tokens: an axis must be a list",
            "train.tokens: when must be a mapping of fields to values, such as {model.ffn.kind: sparse}, got 3",
            "train.eval_points: when must be a mapping of fields to values, such as {model.ffn.kind: sparse}, got an",
        ],
    ),
    (
        HEAD + "sweep: {grid: {train.tokens: {values: [1e6], when: {§train.tokens: 1, §train.tokns: 1, "
        "train.eval_points: §x, model.ffn.kind: [dense, §spares], §train.betas: [1, 2], data.seq_len: §[]}}}}\n",
        [
            "an axis cannot depend on itself",
            "train.tokns is not a field. Did you mean 'train.tokens'?",
            "train.eval_points must be a whole number",
            "must be 'dense' or 'sparse', got the text 'spares'",
            "when cannot ask for train.betas, which is a list of numbers",
            "must have at least one value",
        ],
    ),
    (
        HEAD + "sweep: {grid: {§train.tokens: {values: [1e6, 2e6], when: {data.seq_len: 64}}, model.size: [xs, s]}}\n",
        ["this axis does nothing: no cell has what its `when` asks for of data.seq_len"],
    ),
    (
        HEAD + "sweep: {grid: {§train.eval_points: {values: [1, 2], when: {train.weight_decay: 0.5}}, "
        "train.weight_decay: {values: [0.4, 0.5], when: {train.eval_points: 2}}}}\n",
        ["the conditions of train.eval_points and train.weight_decay depend on each other"],
    ),
    (
        HEAD + "sweep: {grid: {train.eval_points: {values: [1, 2], when: {§train.tokens: 1e6}}}, "
        "derive: {train.tokens: 20 * params_active}}\n",
        ["train.eval_points: when cannot ask for train.tokens, which is derived"],
    ),
]


@pytest.mark.parametrize(("text", "messages"), PROBLEMS)
def test_problem(problems_of, text, messages):
    text, places = without_marks(text)
    problems = problems_of(text)
    assert [(problem.line, problem.column) for problem in problems] == places
    for problem, message in zip(problems, messages, strict=True):
        assert message in problem.message
