"""What may be asked of `switchbench fit`: columns, places, budgets; and what is no such thing."""

import json
import math
from pathlib import Path

import pytest

from switchbench.errors import TableError, UsageError
from switchbench.fitting.columns import parse_columns
from switchbench.fitting.request import parse_budget, parse_places
from switchbench.laws import Budget
from tests.fitting.made_up import fitted, made_up_rows, run, write_csv


def test_a_column_that_is_not_there(tmp_path: Path):
    path = write_csv(tmp_path / "runs.csv", made_up_rows())
    for fields, words in (
        ({"columns": {"loss": "nl"}}, "Did you mean 'nll'"),
        ({"columns": {"n": "parms"}}, "Did you mean 'params'"),
        ({"columns": {"n": "parms * 1e6"}}, "Did you mean 'params'"),
        ({"where": "sead == 1"}, "Did you mean 'seed'"),
        ({"group_by": "knd"}, "Did you mean 'kind'"),
        ({"columns": {"loss": "zzzz"}}, "The table has params, num_experts, nll, seed, kind"),
    ):
        with pytest.raises(TableError, match=words):
            fitted(path, **fields)
    bare = write_csv(tmp_path / "bare.csv", [{"x": 1.0, "y": 2.0}])
    with pytest.raises(TableError, match="--columns n=COLUMN"):
        fitted(bare)


def test_arithmetic_in_columns(tmp_path: Path):
    rows = made_up_rows()
    in_millions = [
        {"millions": row["params"] / 1e6, "num_experts": row["num_experts"], "bits": row["nll"] / math.log(2)}
        for row in rows
    ]
    path = write_csv(tmp_path / "runs.csv", in_millions)
    given = parse_columns("n=millions * 1e6, loss=bits * 0.6931471805599453")
    answer = fitted(path, law="routed", columns=given)
    plain = fitted(write_csv(tmp_path / "plain.csv", rows), law="routed")
    assert answer["parameters"]["A"]["value"] == pytest.approx(plain["parameters"]["A"]["value"], rel=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [("n", "ROLE=COLUMN"), ("x=a", "ROLE=COLUMN"), ("n=", "ROLE=COLUMN"), ("n=a,n=b", "given twice")],
)
def test_columns_that_are_not_of_this_form(text: str, words: str):
    with pytest.raises(UsageError, match=words):
        parse_columns(text)


@pytest.mark.parametrize("text", ["e=4", "n=x", "n=1e9,q=3", "n=-1", "n=inf", "n"])
def test_places_that_are_none(text: str):
    with pytest.raises(UsageError, match="--predict"):
        parse_places([text])


def test_errors_of_the_command_are_one_message(tmp_path: Path):
    path = write_csv(tmp_path / "runs.csv", made_up_rows())
    for words, code in (
        ((str(path), "--loss", "l3"), 2),
        ((str(path), "--columns", "n=zzz"), 2),
        ((str(tmp_path / "absent.csv"),), 2),
        ((str(path), "--law", "joint-moe"), 4),
    ):
        done = run(*words)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stdout == ""


def test_budgets_are_read():
    assert parse_budget(None, memory=None, bytes_per_parameter=None) is None
    assert parse_budget("1e20FLOPs", memory="80GiB", bytes_per_parameter=None) == Budget(
        flops=1e20, memory_bytes=80 * 2**30, bytes_per_parameter=16
    )
    assert parse_budget("1.5 EFLOP", memory=None, bytes_per_parameter=2) == Budget(flops=1.5e18, bytes_per_parameter=2)


@pytest.mark.parametrize(
    ("flops", "memory", "number", "words"),
    [
        (None, "80GiB", None, "--memory narrows a FLOPs budget"),
        (None, None, 2.0, "--bytes-per-parameter narrows a FLOPs budget"),
        ("much", None, None, "--budget must be a number of FLOPs"),
        ("1e20", "80", None, "--memory must be a number of bytes"),
        ("1e20", "80GiB", 0.0, "--bytes-per-parameter is to be a number above 0"),
    ],
)
def test_budgets_that_are_none(flops: str | None, memory: str | None, number: float | None, words: str):
    with pytest.raises(UsageError, match=words):
        parse_budget(flops, memory=memory, bytes_per_parameter=number)


def test_the_best_model_under_a_budget_by_the_command(tmp_path: Path):
    rows = [
        row | {"d": 1e9, "params_total": row["params"] * (1 + 0.25 * (row["num_experts"] - 1))}
        for row in made_up_rows()
    ]
    path = write_csv(tmp_path / "runs.csv", rows)
    words = (str(path), "--law", "routed", "--bootstrap", "20", "--budget", "6e17FLOPs", "--memory", "1.6GB")
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    budget = answer["budget"]
    assert (budget["fixed_d"], budget["per_expert"], budget["base"]) == (1e9, pytest.approx(0.25), pytest.approx(1))
    # 1e8 parameters are within both budgets; with experts, as many as 1.6 GB hold at 16 bytes each.
    sizes = {option["e"]: option["n"]["value"] for option in budget["options"]}
    assert sizes == {1: pytest.approx(1e8), 4: pytest.approx(1e8 / 1.75), 8: pytest.approx(1e8 / 2.75)}
    p = {name: each["value"] for name, each in answer["parameters"].items()}
    for option in budget["options"]:
        expected = p["E0"] + p["A"] * (sizes[option["e"]] * option["e"] ** p["g"]) ** -p["alpha"]
        assert option["loss"]["value"] == pytest.approx(expected)
    printed = run(*words).stdout
    assert "The best model under 600 PFLOP and 1.49 GiB" in printed
    assert "For sizes beyond the fitted ones such a recommendation was wrong 0 of 3 times (back-test)." in printed
    assert "Back-test: a model of each of the 3 largest sizes" in printed
    without = run(str(path), "--law", "power", "--where", "num_experts == 1", "--bootstrap", "0").stdout
    assert "Back-test: none." in without
