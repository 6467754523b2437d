"""The rows that are fitted, and those that are left out or refused, with the reason."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from switchbench.errors import SwitchbenchError, TableError, UsageError
from switchbench.fitting.columns import find_columns, parse_columns
from switchbench.fitting.rows import use_rows
from tests.fitting.made_up import fitted, made_up_rows, run, write_csv

BAD_VALUES = [math.nan, math.inf, -math.inf, -1.0, 0.0, "", "diverged"]


def test_rows_without_a_usable_loss_are_left_out_and_counted(tmp_path: Path):
    rows = made_up_rows()
    for i, value in enumerate(BAD_VALUES):
        rows.append(rows[i] | {"nll": value})
    rows.append(rows[0] | {"params": -5})
    answer = fitted(write_csv(tmp_path / "runs.csv", rows), law="routed")
    assert answer["n_rows"] == 36
    assert answer["rows"]["read"] == 44
    counts = {each["reason"]: each["count"] for each in answer["rows"]["left_out"]}
    assert counts == {
        "nll is not a number (NaN)": 1,
        "nll is infinite": 2,
        "nll is not above 0": 2,
        "nll is missing": 1,
        "nll is no number": 1,
        "params is not above 0": 1,
    }
    assert "ROWS_LEFT_OUT" in answer["caveats"]
    clean = fitted(write_csv(tmp_path / "clean.csv", rows[:36]), law="routed")
    assert answer["objective"] == pytest.approx(clean["objective"])
    assert "ROWS_LEFT_OUT" not in clean["caveats"]


@pytest.mark.parametrize(("count", "law"), [(0, "auto"), (1, "power"), (2, "auto"), (2, "routed"), (4, "power")])
def test_very_few_rows_end_in_a_sentence_or_with_caveats(count: int, law: str, tmp_path: Path):
    rows = made_up_rows(seeds=1)[:count]
    path = write_csv(tmp_path / "runs.csv", rows)
    done = run(str(path), "--law", law, "--bootstrap", "10", "--json")
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.returncode == 4
        assert done.stderr.startswith("error: ")
    else:
        assert "FEW_POINTS" in json.loads(done.stdout)["caveats"]


def test_where_no_row_is_left_the_reasons_are_given(tmp_path: Path):
    path = write_csv(tmp_path / "runs.csv", [row | {"nll": "diverged"} for row in made_up_rows()])
    with pytest.raises(SwitchbenchError, match=r"Of 36 rows, 0 are left\. Left out: 36 \(nll is no number\)"):
        fitted(path)


def test_numbers_that_no_models_have(tmp_path: Path):
    rows = made_up_rows()
    for change in ({"nll": 1e6}, {"params": 1e30}):
        path = write_csv(tmp_path / "runs.csv", [*rows, rows[0] | change])
        with pytest.raises(SwitchbenchError, match="no law of models"):
            fitted(path, law="routed")


def test_equal_losses_are_no_law(tmp_path: Path):
    rows = [row | {"nll": 3.0} for row in made_up_rows()]
    path = write_csv(tmp_path / "runs.csv", rows)
    with pytest.raises(SwitchbenchError, match="all 36 losses are equal"):
        fitted(path, law="routed")
    with pytest.raises(SwitchbenchError, match="all 36 losses are equal"):
        fitted(path, law=None)


def test_rows_that_say_nothing_do_not_break_the_fit(tmp_path: Path):
    """Losses of pure chance, rising with size, or nearly equal: an answer with its caveats."""
    generator = np.random.default_rng(0)
    rows = made_up_rows()
    for change in (
        lambda row: 2 + generator.random(),
        lambda row: 3 * (row["params"] / 1e6) ** 0.1,
        lambda row: 3 + 1e-12 * generator.random(),
    ):
        path = write_csv(tmp_path / "runs.csv", [row | {"nll": change(row)} for row in rows])
        answer = fitted(path, law="routed", resamples=5)
        assert {"UNIDENTIFIED", "AT_BOUND", "NOT_CONVERGED"} & set(answer["caveats"])


def test_dense_rows_without_experts(tmp_path: Path):
    """Others write 0 for dense: the reason says what to do, and that does it."""
    rows = [row | {"num_experts": 0 if row["num_experts"] == 1 else row["num_experts"]} for row in made_up_rows()]
    path = write_csv(tmp_path / "runs.csv", rows)
    (left_out,) = fitted(path, law="routed")["rows"]["left_out"]
    assert left_out["count"] == 12
    advice = left_out["reason"].split("--columns ")[1]
    assert fitted(path, law="routed", columns=parse_columns(f"{advice},loss=nll"))["n_rows"] == 36


def test_filters_and_nulls(tmp_path: Path):
    rows = [row | {"capacity": None if row["num_experts"] == 1 else 1.5} for row in made_up_rows()]
    table = pa.Table.from_pylist(rows)
    columns = find_columns(table.column_names, {})
    used = use_rows(table, columns, where="capacity > 1")
    assert len(used.observations) == 24
    assert [(each.reason, each.count) for each in used.left_out] == [
        ("capacity is missing, which --where asks for", 12)
    ]
    for either in ("kind == 'dense' or capacity > 1", "capacity > 1 or kind == 'dense'"):
        assert len(use_rows(table, columns, where=either).observations) == 36
    with pytest.raises(UsageError, match="true or false"):
        use_rows(table, columns, where="seed + 1")
    with pytest.raises(UsageError, match="=="):
        use_rows(table, columns, where="seed = 1")
    with pytest.raises(UsageError):
        use_rows(table, columns, where="__import__('os').system('true')")


def test_different_tokenizers_are_not_compared(tmp_path: Path):
    rows = [
        row | {"tokenizer": "bytes" if i % 2 else "bpe", "bits_per_byte": row["nll"] / 2}
        for i, row in enumerate(made_up_rows())
    ]
    path = write_csv(tmp_path / "runs.csv", rows)
    with pytest.raises(TableError, match="bits per byte"):
        fitted(path, law="routed")
    assert fitted(path, law="routed", columns={"loss": "bits_per_byte"})["n_rows"] == 36
    assert fitted(path, law="routed", where="tokenizer == 'bpe'")["n_rows"] == 18


def test_losses_evaluated_with_different_capacity_are_not_compared(tmp_path: Path):
    rows = made_up_rows()
    mixed = [
        row | {"eval_capacity_factor": None if row["kind"] == "dense" else 1.25 + 0.75 * row["seed"]} for row in rows
    ]
    path = write_csv(tmp_path / "runs.csv", mixed)
    with pytest.raises(TableError, match=r"eval_capacity_factor \(1\.25, 2\.0\)") as error:
        fitted(path, law="routed")
    (advice,) = re.findall(r'--where "(.*)"', str(error.value))
    assert fitted(path, law="routed", where=advice)["n_rows"] == 24
    same = [row | {"eval_capacity_factor": 2.0} for row in rows]
    assert fitted(write_csv(tmp_path / "same.csv", same), law="routed")["n_rows"] == 36


def test_our_own_nll_has_no_capacity(tmp_path: Path):
    """Dropless: whatever the capacity factors of ``nll_capacity`` beside it."""
    ours = {"params_norm": 0, "params_embedding": 0, "tied_output": True, "data_fingerprint": "x"}
    rows = [
        row
        | ours
        | {"params_active": row["params"], "nll_capacity": row["nll"], "eval_capacity_factor": 1.0 + row["seed"]}
        for row in made_up_rows()
    ]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert fitted(path, law="routed")["n_rows"] == 36
    with pytest.raises(TableError, match="--columns loss=nll"):
        fitted(path, law="routed", columns={"loss": "nll_capacity"})
