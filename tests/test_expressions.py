"""The language of derived values, constraints and filters, against Python itself."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchbench.errors import ExpressionError
from switchbench.expressions import MAX_DEPTH, MAX_LENGTH, parse_expression

VALUES: dict[str, Any] = {
    "num_experts": 16,
    "d_ff": 128,
    "model.ffn.d_ff": 128,
    "capacity_factor": 1.25,
    "dropless": None,
    "corpus": "text",
    "tied": True,
    "anneal_at": [0.5, 1.0],
    "zero": 0,
}


def evaluate(text: str) -> Any:
    return parse_expression(text).evaluate(VALUES)


def error_of(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20 * d_ff", 2560), ("  num_experts*model.ffn.d_ff ", 2048), ("-2 ** 2", -4), ("7 // 2 + 7 % 2", 4),
        ("1 / 4", 0.25), ("2 ** -1", 0.5), ("0 ** 0", 1), ("4 ** 0.5", 2.0), ("1e3 + .5", 1000.5),
        ("1 <= num_experts <= 16", True), ("1 < 2 > 3", False), ("not tied or d_ff == 128", True),
        ("d_ff != 128", False), ("num_experts in [4, 16]", True),
        ("corpus not in ['text', \"wiki\"]", False), ("'ex' in corpus", True),
        ("0.5 in anneal_at", True), ("dropless == null", True), ("dropless != 1", True), ("tied == true", True),
        ("dropless == null or dropless < 2", True), ("dropless != null and dropless < 2", False),
        ("min(3, d_ff, 200)", 3), ("max([1, 2, 3])", 3), ("round(0.5 + 1)", 2),
        ("ceil(1.2)", 2), ("floor(-1.2)", -2), ("sqrt(16)", 4.0), ("log(1)", 0.0), ("log2(8)", 3.0), ("abs(-3)", 3),
        ("false", False), ("anneal_at == [0.5, 1]", True), ("1_000", 1000), ("'\\d' == corpus", False),
    ],
)  # fmt: skip
def test_value(text, value):
    got = evaluate(text)
    assert got == value
    assert type(got) is type(value)


# § stands before the character that the error points at.
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("§", "is empty"),
        ("20 * §params_activ", "params_activ is not a name here."),
        ("20 * §num_expert", "num_expert is not a name here. Did you mean 'num_experts'?"),
        ("d_ff / §zero", "division by zero"),
        ("d_ff % (§zero + 0)", "division by zero"),
        ("0 ** §-1", "division by zero"),
        ("d_ff ** §d_ff ** d_ff", "the power is too large"),
        ("2 ** §1001", "the power is too large"),
        ("10.0 ** §400", "the number is too large"),
        ("1e308 * §10", "the number is too large"),
        ("(2 ** 600) * (§2 ** 600)", "the number is too large"),
        ("2 ** 999 / §0.1 ** 300", "the number is too large"),
        ("1 + §1e999", "the number is too large"),
        ("(-8) ** §0.5", "not a number"),
        ("1 + §dropless", "a number is needed here, got dropless, which is null"),
        ("1 + §'a'", "a number is needed here, got 'a'"),
        ("-§corpus", "got corpus, which is 'text'"),
        ("§tied + 1", "got tied, which is true"),
        ("§dropless < 2", "only numbers can be smaller or larger, got null"),
        ("1 < 2 < §'3'", "only numbers can be smaller or larger, got '3'"),
        ("num_experts == §'16'", "16 and '16' are never equal; text stands in quotes"),
        ("num_experts in §[4, '16']", "16 and '16' are never equal"),
        ("1 in §corpus", "'in' needs a list"),
        ("§num_experts and tied", "need true or false, got 16"),
        ("§sqrt(-1)", "sqrt(-1) has no value"),
        ("§log(0)", "log(0) has no value"),
        ("§round(1.5, 2)", "round takes one argument, got 2"),
        ("§max('a')", "max needs numbers, got 'a'"),
        ("§max([])", "max needs numbers, got []"),
        ("1 + §min", "min is a function"),
        ("§max()", "max takes at least one argument, got 0"),
        ("§sqrt(1, 2)", "sqrt takes one argument, got 2"),
        ("§max(*anneal_at)", "max takes plain arguments alone"),
        ("§round(1, ndigits=2)", "round takes plain arguments alone"),
        ("§exp(1)", "exp is not a function; allowed: min, max"),
        ("§model.max(1)", "model.max is not a function"),
        ("§(1 + 1)(2)", "only a function can be called"),
        ("§__import__('os')", "__import__ is not a function"),
        ("§'a'.upper", "a '.' stands only within a name"),
        ("§anneal_at[0]", "this is not allowed"),
        ("§[x for x in anneal_at]", "this is not allowed"),
        ("(§lambda: 1)", "this is not allowed"),
        ("§f'{d_ff}'", "this is not allowed"),
        ("(§d_ff := 3)", "this is not allowed"),
        ("§1 if tied else 2", "this is not allowed"),
        ("§{1: 2}", "this is not allowed"),
        ("§1, 2", "a list stands in square brackets"),
        ("2 * §3j", "only numbers, text, true, false and null are values"),
        ("§b'a'", "only numbers"),
        ("§d_ff ^ 2", "'^' is not allowed; a power is **"),
        ("§tied & tied", "write 'and'"),
        ("tied §&& tied", "write 'and', 'or'"),
        ("tied §|| tied", "write 'and', 'or'"),
        ("§!tied", "'!' is not allowed"),
        ("d_ff §= 128", "'=' is not allowed; to compare, write =="),
        ("§d_ff is 128", "'is' is not allowed; write =="),
        ("§(1 + 2", "cannot be read"),
        (" 1 +§", "cannot be read from here on"),
        ("1 +§", "cannot be read from here on"),
        (" 1 §2", "cannot be read from here on"),
        ("é + §zéro", "zéro is not a name here"),
        ("1 +§\n2", "the character U+000A is not allowed; an expression is one line"),
        ("a§\0", "the character U+0000 is not allowed"),
        ("'§\ud800'", "the character U+D800 is not allowed"),
    ],
)  # fmt: skip
def test_error(text, problem):
    column = text.index("§") + 1
    text = text.replace("§", "")
    if text.startswith("é"):
        with pytest.raises(ExpressionError) as caught:
            parse_expression(text).evaluate({"é": 1})
        error = caught.value
    else:
        error = error_of(text)
    assert (error.column, error.exit_code) == (column, 2)
    assert problem in error.problem
    first, _, caret = str(error).split("\n")
    assert first == error.problem
    assert caret.index("^") - 4 == error.column - 1
    str(error).encode()


def value_or_error(text: str, values: dict[str, Any]) -> tuple[Any, ExpressionError | None]:
    try:
        return parse_expression(text).evaluate(values), None
    except ExpressionError as error:
        return None, error


def test_names_and_where_they_stand_first():
    expression = parse_expression("min(a.b, c) + c * a.b + log2(2) == null")
    assert expression.names == {"a.b": 5, "c": 10}


def test_only_what_is_needed_is_evaluated():
    assert evaluate("zero == 0 or 1 / zero > 1") is True
    assert evaluate("zero != 0 and 1 / zero > 1") is False
    assert evaluate("1 > 2 > 1 / zero") is False


@pytest.mark.parametrize(
    "text",
    [
        "1 + " * 200 + "1",
        "(" * 300 + "1" + ")" * 300,
        "-" * 400 + "1",
        "not " * 100 + "true",
        "[" * 100 + "]" * 100,
        "a" + ".b" * 249,
        "1" * (MAX_LENGTH + 1),
        "9 ** 9 ** 9 ** 9",
        "9 ** 99 ** 99",
        "2 ** 1000 ** 1000",
        "round(15, -" + "9" * 200 + ")",
    ],
)
def test_what_would_take_forever_is_refused(text):
    with pytest.raises(ExpressionError):
        evaluate(text)


def test_the_limits_are_refused_when_read():
    for text, problem in (
        ("1 + " * MAX_DEPTH + "1", "nested more than"),
        ("x" * (MAX_LENGTH + 1), "longer than 500 characters"),
    ):
        with pytest.raises(ExpressionError, match=problem):
            parse_expression(text)
    assert evaluate("1 + " * (MAX_DEPTH - 1) + "1") == MAX_DEPTH
    assert evaluate("10 ** -" + "9" * 300) == 0.0


NUMBERS = st.one_of(st.integers(0, 50).map(str), st.floats(0, 1e3).map(repr), st.sampled_from(["a", "model.d_ff", "b"]))
ARITHMETIC = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner).map(" ".join),
        st.tuples(st.just("("), inner, st.just(")")).map("".join),
        inner.map("- {}".format),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(["round", "ceil", "floor", "sqrt", "log", "log2", "abs"]), inner).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
    ),
    max_leaves=8,
)
COMPARISONS = st.one_of(
    st.tuples(ARITHMETIC, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), ARITHMETIC).map(" ".join),
    st.tuples(ARITHMETIC, st.sampled_from(["<", "=="]), ARITHMETIC, st.just(">="), ARITHMETIC).map(" ".join),
    st.tuples(ARITHMETIC, st.sampled_from(["in", "not in"]), ARITHMETIC, ARITHMETIC).map(
        lambda t: f"{t[0]} {t[1]} [{t[2]}, {t[3]}]"
    ),
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
        inner.map("not ({})".format),
        inner.map("({})".format),
    ),
    max_leaves=4,
)


def python_value(text: str) -> Any:
    """What Python makes of it; None where it has no finite value."""
    names = {"ceil": math.ceil, "floor": math.floor, "sqrt": math.sqrt, "log": math.log, "log2": math.log2}
    try:
        value = eval(text, {"a": 3, "b": 0.25, "model": SimpleNamespace(d_ff=64)} | names)
    except (ArithmeticError, ValueError, TypeError):  # TypeError: with a complex number
        return None
    return None if isinstance(value, complex) or not math.isfinite(value) else value


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(ARITHMETIC, CONDITIONS).filter(lambda text: text.count("**") < 2 and len(text) <= MAX_LENGTH))
@example(text="- 2 ** 2")
@example(text="0.1 + 0.2 == 0.3")
@example(text="not (1 < 2) or 2 // 0 > 1")
def test_it_computes_what_python_computes(text):
    expected = python_value(text)
    value, error = value_or_error(text, {"a": 3, "b": 0.25, "model.d_ff": 64})
    if error is not None:  # what Python can compute is refused only where it grows too large on the way
        assert expected is None or "too large" in error.problem
        return
    assert value == expected
    assert type(value) is type(expected)


PIECES = [
    *"+-*/%<>=!&|^~()[]{},.:'\"\\#@ \t\nabx019é²_\0",
    "**", "//", "and", "or", "not", "in", "is", "if", "else", "lambda", "for", "null", "true", "min", "log(", "a.b",
    "'x'", "1e9", "9" * 50, "await", "yield", "f'{", "b'", ":=", "->", "...", "\ud800", "\u202e", "\ufeff",
    "[[[[[[", "((((",
]  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(text=st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
@example(text="1and 2")
@example(text="'\\d'")
@example(text="1if 1else 1")
@example(text="'\\N{DIGIT}' == a")
def test_any_text_has_a_value_or_an_error(text):
    _, error = value_or_error(text, {"a": 3, "b": "text", "a.b": [1, 2], "x": None})
    if error is not None:
        assert 1 <= error.column <= len(text) + 1
        str(error).encode()


NOTHING = VALUES | {"top_k": None, "normalize_gates": None, "fractions": None}


# Null is equal to null alone, smaller or larger than nothing, and false where a truth is needed.
@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("top_k >= 1", False), ("top_k < 1", False), ("1 <= top_k <= 4", False), ("not top_k > 1", True),
        ("top_k == null", True), ("top_k != null", False), ("top_k == 1", False), ("top_k != 1", True),
        ("top_k in [1, 2]", False), ("top_k in [null, 2]", True), ("1 in fractions", False),
        ("1 not in fractions", True),
        ("2 * top_k + 1 > 0", False), ("-top_k < 0", False), ("max(top_k, 3) >= 3", False),
        ("sqrt(top_k) == null", True),
        ("normalize_gates", False), ("not normalize_gates", True), ("normalize_gates or top_k == null", True),
        ("top_k > 1 or num_experts == 16", True), ("top_k > 1 and num_experts == 16", False),
        ("num_experts >= 16 and corpus == 'text'", True), ("num_experts > 16", False),
    ],
)  # fmt: skip
def test_a_filter_holds_of_what_lacks_values(text, holds):
    assert parse_expression(text).holds(NOTHING) is holds


@pytest.mark.parametrize(
    "text", ["num_experts + 1", "corpus", "top_k + corpus", "corpus < 3", "corpus == 3", "nix > 1"]
)
def test_a_filter_that_means_nothing_is_refused(text):
    with pytest.raises(ExpressionError):
        parse_expression(text).holds(NOTHING)


@given(
    text=st.sampled_from(["{} < 3", "{} == 2", "not {} >= 1", "{} in [1, 2]", "{} * 2 == 4", "1 <= {} <= 2"]),
    value=st.integers(0, 4),
)
def test_with_all_values_a_filter_is_the_value(text, value):
    expression = parse_expression(text.format("x"))
    assert expression.holds({"x": value}) is expression.evaluate({"x": value})
