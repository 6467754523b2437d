"""What may be asked of `switchbench fit`: columns, places, budgets; and what is no such thing."""

import math
from pathlib import Path

import pytest

from switchbench.errors import TableError, UsageError
from switchbench.fitting.columns import parse_columns
from switchbench.fitting.request import parse_places
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
