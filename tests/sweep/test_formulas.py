"""Derived values and constraints."""

import pytest

from switchbench.cost import cost_of, count_parameters
from switchbench.spec import SparseFFNSpec
from switchbench.sweep.fields import FIELDS, KIND, value_at
from switchbench.sweep.names import COMPUTED, SHORT_NAMES, computed_value, dependencies, field_value, path_of
from tests.sweep.marks import HEAD, SPARSE, without_marks

TEXT = """\
schema: 1
name: x
base:
  model: {ffn: {kind: sparse, num_experts: 8}}
sweep:
  grid:
    model.ffn.num_experts: [4, 16]
    model.size: [xxs, xs]
"""


def numbers(cells, *paths):
    return [tuple(value_at(cell.spec, path) for path in paths) for cell in cells]


def test_tokens_follow_the_active_weights(load):
    sweep = load(TEXT + "  derive: {train.tokens: 20 * params_active}\n  baselines: [iso_flop]\n")
    assert sweep.axes == ("model.ffn.num_experts", "model.size")
    for cell in sweep.cells:
        if cell.role == "sparse":
            assert cell.spec.train.tokens == 20 * count_parameters(cell.spec.model, vocab_size=256).active
            (twin,) = [other for other in sweep.cells if cell.spec.config_id in other.twin_of]
            assert twin.spec.train == cell.spec.train  # a twin inherits what was derived; it is not derived again


def test_derived_values_may_depend_on_each_other_in_any_order(load):
    sweep = load(
        TEXT
        + "  derive:\n    train.tokens: num_steps_wanted * batch_tokens\n".replace(
            "num_steps_wanted", "(100 * eval_points)"
        )
        + "    train.eval_points: round(sqrt(d_ff))\n"
        "    model.ffn.d_ff: 3 * model.d_model\n"
        "    train.batch_tokens: 32 * seq_len\n"
    )
    for cell in sweep.cells:
        d_ff = 3 * cell.spec.model.d_model
        assert cell.spec.model.ffn.d_ff == d_ff
        assert cell.spec.train.eval_points == round(d_ff**0.5)
        assert cell.spec.train.batch_tokens == 4096
        assert cell.spec.train.tokens == 100 * cell.spec.train.eval_points * 4096


def test_a_derived_value_replaces_that_of_the_base_and_has_its_identity(load):
    derived = load(TEXT + "  derive: {train.tokens: 2e6 / 2, model.ffn.capacity_factor: 1 + 0.5}\n")
    given = load(TEXT, "base.train.tokens=1e6", "base.model.ffn.capacity_factor=1.5")
    assert derived.cells == given.cells


def test_derived_values_of_every_kind(load):
    sweep = load(
        TEXT + "  derive:\n"
        "    train.anneal_at: '[1 / 4, 1.0]'\n"
        "    train.eval_tokens: 'null'\n"
        "    model.tied_output: d_model < 64\n"
        "    model.ffn.activation: \"'gelu'\"\n"
    )
    for cell in sweep.cells:
        spec = cell.spec
        assert (spec.train.anneal_at, spec.train.eval_tokens) == ((0.25, 1.0), None)
        assert (spec.model.tied_output, spec.model.ffn.activation) == (spec.model.d_model < 64, "gelu")


def test_a_sparse_only_field_is_not_derived_for_dense_cells(load):
    sweep = load(
        TEXT + "  derive: {model.ffn.capacity_factor: num_experts / 4}\n", "sweep.grid.model.ffn.kind=[dense, sparse]"
    )
    for cell in sweep.cells:
        ffn = cell.spec.model.ffn
        assert not isinstance(ffn, SparseFFNSpec) or ffn.capacity_factor == ffn.num_experts / 4
    assert {cell.role for cell in sweep.cells} == {"dense", "sparse"}


@pytest.mark.parametrize(
    "base", ["", "size: xs", "size: s, d_model: 96, d_head: 24", "size: m, ffn: {activation: swiglu}"]
)
def test_every_name_has_the_value_that_the_run_has(load, base):
    for kind in ("dense", "sparse"):
        text = HEAD + f"base: {{model: {{{base}}}, train: {{tokens: 4.2e6}}}}\n"
        (cell,) = load(text, f"base.model.ffn.kind={kind}").cells
        given = cell_values(text, kind)
        for path, field in FIELDS.items():
            if kind in field.kinds:
                assert field_value(path, given) == value_at(cell.spec, path), path
        cost = cost_of(cell.spec)
        expected = {
            "vocab_size": 256,
            "params_total": cost.parameters.total,
            "params_active": cost.parameters.active,
            "params_non_embedding": cost.parameters.non_embedding,
            "forward_flops_per_token": cost.forward_flops_per_token.total,
            "num_steps": cell.spec.train.num_steps,
            "useful_train_flops": cost.train_flops.useful,
        }
        assert expected.keys() == COMPUTED.keys()
        for name, value in expected.items():
            got = computed_value(name, given, model=lambda cell=cell: cell.spec.model, vocab_size=lambda: 256)
            assert got == pytest.approx(value, rel=1e-12)


def cell_values(text, kind):
    """The given fields of a file with one cell, as the outline has them."""
    from switchbench.sweep.document import parse
    from switchbench.sweep.outline import read_outline
    from switchbench.sweep.overrides import apply_overrides
    from switchbench.sweep.source import Findings, Source

    findings = Findings("x.yaml")
    root = parse(text, source=Source("x.yaml", text), findings=findings)
    apply_overrides(root, [f"base.model.ffn.kind={kind}"], findings=findings)
    outline = read_outline(root, findings=findings)
    findings.raise_if_any()
    return outline.base


def test_short_names_are_unique():
    assert len(SHORT_NAMES) == len(FIELDS)
    assert not SHORT_NAMES.keys() & COMPUTED.keys()
    assert path_of("kind") == KIND


def test_a_name_depends_on_what_its_default_follows_from():
    assert dependencies("d_ff", given=()) >= {"model.ffn.d_ff", "model.d_model", "model.size", "model.ffn.activation"}
    assert dependencies("d_ff", given={"model.ffn.d_ff"}) == {"model.ffn.d_ff"}
    assert "train.tokens" in dependencies("useful_train_flops", given=())


def test_a_cell_that_fails_a_constraint_is_dropped_and_counted(load):
    sweep = load(TEXT + "  constraints: [num_experts * d_ff <= 2048]\n  seeds: [0, 1]\n  baselines: [iso_flop]\n")
    kept = {(cell.spec.model.ffn.num_experts, cell.spec.model.size) for cell in sweep.cells if cell.role == "sparse"}
    assert kept == {(4, "xxs"), (4, "xs"), (16, "xxs")}
    (dropped,) = sweep.dropped
    assert dropped.settings == {"model.ffn.num_experts": 16, "model.size": "xs"}
    assert dropped.constraint == "num_experts * d_ff <= 2048"
    assert dropped.reason == "num_experts * d_ff <= 2048 does not hold: num_experts 16, d_ff 256"
    assert len(sweep.cells) == (3 + 2) * 2


def test_a_constraint_on_what_a_dense_cell_lacks_is_true_for_it(load):
    sweep = load(
        TEXT + "  constraints: [num_experts > 4, params_total < 4e5 or num_experts < 3]\n",
        "sweep.grid.model.ffn.kind=[dense, sparse]",
    )
    cells = [(cell.role, cell.spec.model.size) for cell in sweep.cells]
    assert cells == [("dense", "xxs"), ("dense", "xs"), ("sparse", "xxs")]
    assert len(sweep.dropped) == 3


def test_constraints_see_derived_and_computed_values(load):
    text = TEXT + "  derive: {train.tokens: 20 * params_active}\n"
    for constraint in (
        "tokens < 2e6",
        "train.tokens < 100 * 20000",
        "params_active < 1e5",
        "useful_train_flops < 1e13",
    ):
        sweep = load(text + f"  constraints: [{constraint}]\n")
        assert {cell.spec.model.size for cell in sweep.cells} == {"xxs"}, constraint
        assert len(sweep.dropped) == 2


def test_a_constraint_may_keep_out_what_is_no_valid_run(load):
    grid = {"sweep.grid.model.ffn.num_experts": "[2, 4]", "sweep.grid.model.ffn.top_k": "[2, 3]"}
    overrides = ["base.model.ffn.router=top_k", *(f"{key}={value}" for key, value in grid.items())]
    derive = "  derive: {train.tokens: 20 * params_active}\n"
    sweep = load(TEXT + derive + "  constraints: [params_total < 1e9, top_k <= num_experts]\n", *overrides)
    assert {(c.spec.model.ffn.num_experts, c.spec.model.ffn.top_k) for c in sweep.cells} == {(2, 2), (4, 2), (4, 3)}


def test_a_constraint_may_ask_for_text_for_null_and_for_one_of_a_list(load):
    text = TEXT.replace("[4, 16]", "[4, 16]\n    model.ffn.capacity_factor: [1.0, null]")
    sweep = load(text + "  constraints: [\"size in ['xs', 's']\", capacity_factor == null or capacity_factor > 1]\n")
    got = {(cell.spec.model.size, cell.spec.model.ffn.capacity_factor) for cell in sweep.cells}
    assert got == {("xs", None)}


def test_overrides_of_formulas(load):
    sweep = load(TEXT, "sweep.derive.train.tokens=20 * params_active", "sweep.constraints=[num_experts < 10]")
    assert (
        sweep.cells
        == load(TEXT + "  derive: {train.tokens: 20 * params_active}\n  constraints: [num_experts < 10]\n").cells
    )
    assert [cell.spec.model.ffn.num_experts for cell in sweep.cells] == [4, 4]
    assert len(load(TEXT, "sweep.constraints=[]").cells) == 4


DERIVE = SPARSE + "sweep: {derive: "
PROBLEMS = [
    (DERIVE + "§3}\n", ["sweep.derive must be a mapping of fields to expressions, such as {train.tokens: 20"]),
    (
        DERIVE + "{§train.tokns: 1 + 1, train.tokens: §1e6, data.seq_len: §[1], §train.eval_points: }}\n",
        [
            "train.tokns is not a field. Did you mean 'train.tokens'?",
            "train.tokens must be an expression, such as 20 * params_active, got 1e6; a fixed value stands in base",
            "data.seq_len must be an expression, such as 20 * params_active, got a list",
            "got nothing (null)",
        ],
    ),
    (
        DERIVE + "{train.tokens: 20 * §params_activ, train.eval_points: 'd_ff +§', data.seq_len: \"§zzz\"}}\n",
        [
            "train.tokens: params_activ is not a field or a computed name. Did you mean 'params_active'?",
            "train.eval_points: cannot be read from here on",
            "data.seq_len: zzz is not a field or a computed name. Computed names: vocab_size, params_total",
        ],
    ),
    (DERIVE + "{§model.ffn.kind: \"'dense'\"}}\n", ["model.ffn.kind cannot be derived"]),
    (
        SPARSE + "sweep: {grid: {train.tokens: [1e6]}, derive: {§train.tokens: 2 * d_ff}}\n",
        ["train.tokens is an axis as well; leave the axis or the derived value out"],
    ),
    (
        DERIVE + "{train.tokens: §num_steps * batch_tokens}}\n",
        ["train.tokens depends on itself: train.tokens → num_steps → train.tokens"],
    ),
    (
        DERIVE + "{model.d_model: §d_ff / 4, model.num_heads: §d_head, model.d_head: model.num_heads, "
        "train.tokens: 20 * d_model}}\n",
        [
            "model.d_model depends on itself: model.d_model → d_ff → model.d_model",
            "model.num_heads depends on itself: model.num_heads → model.d_head → model.num_heads",
        ],
    ),
    (
        DERIVE
        + "{train.tokens: §20.5 * params_active + 0.3, train.learning_rate: §0 - 1, "
        "train.eval_points: 1 / §(d_ff - d_ff), train.batch_tokens: 9 ** §999}}\n".replace("§(d", "(§d"),
        [
            "train.tokens, as derived with params_active 58272 (round(...) makes a whole number), must be",
            "train.learning_rate, as derived, must be above 0, got -1",
            "train.eval_points: division by zero with d_ff 128",
            "train.batch_tokens: the power is too large",
        ],
    ),
    (
        HEAD + "sweep:\n  grid: {model.ffn.kind: [dense, sparse]}\n  derive: {train.tokens: 1e5 * §num_experts}\n",
        ["train.tokens: a dense cell has no num_experts"],
    ),
    (
        DERIVE + "{train.anneal_at: §'[[1], d_ff]', train.betas: §'[0.5]', train.tokens: §'null'}}\n",
        ["train.anneal_at", "train.betas, as derived, must have 2 values", "got nothing (null)"],
    ),
    (HEAD + "sweep: {derive: {model.ffn.num_experts: §2 * 2}}\n", ["is a field of sparse FFNs alone"]),
    (
        HEAD + "sweep: {grid: {model.size: [xxs, xs]}, derive: {train.batch_tokens: §100}}\n".replace("100", "50 + 50"),
        ["train.batch_tokens 100 is not a multiple of data.seq_len 128"],
    ),
    (
        SPARSE + "sweep: {derive: {train.tokens: min§(1e6, §20 * params_active)}}\n",
        ["cannot be read from here on", "An expression with a comma in it needs quotes."],
    ),
    (SPARSE + "sweep: {constraints: §3}\n", ["sweep.constraints: it must be a list of values, such as [num_experts"]),
    (
        SPARSE + "sweep: {constraints: [§3, §num_expert < 3, num_experts §= 3, §num_experts, '1 + §null > 1', "
        "§eval_tokens]}\n",
        [
            "a constraint must be an expression, such as num_experts <= 16, got 3",
            "num_expert is not a field or a computed name. Did you mean 'num_experts'?",
            "a constraint: '=' is not allowed; to compare, write ==",
            "a constraint is true or false, such as num_experts <= 16; this is 8",
            "a constraint: a number is needed here, got null, which is null",
            "a constraint is true or false, such as num_experts <= 16; this is null",
        ],
    ),
    (
        HEAD + "sweep: {constraints: [d_ff > 1 and §num_experts < 3]}\n",
        ["this constraint does nothing: num_experts is a field of sparse FFNs alone, and model.ffn.kind is by default"],
    ),
    (
        SPARSE + "sweep:\n  grid: {model.ffn.num_experts: [4, 8]}\n  constraints:\n    - §num_experts > 8\n",
        ["the constraints leave no configuration of 2; the first fails since num_experts > 8 does not hold: "],
    ),
]


@pytest.mark.parametrize(("text", "messages"), PROBLEMS)
def test_problem(problems_of, text, messages):
    text, places = without_marks(text)
    problems = problems_of(text)
    assert [(problem.line, problem.column) for problem in problems] == places
    for problem, message in zip(problems, messages, strict=True):
        assert message in problem.message


def test_a_problem_of_a_formula_is_said_once_for_all_cells(problems_of):
    text = TEXT + "  derive: {train.tokens: params_active / 3}\n  constraints: [1 / (d_ff - d_ff) > 1]\n"
    assert len(problems_of(text)) == 2


def test_nothing_is_said_of_formulas_on_what_is_wrong_itself(problems_of):
    text = TEXT.replace("num_experts: 8", "num_experts: 8, d_ff: x")
    problems = problems_of(text + "  derive: {train.tokens: d_ff / 3}\n  constraints: [d_ff]\n")
    assert [problem.message for problem in problems] == ["model.ffn.d_ff must be a whole number, got the text 'x'"]
