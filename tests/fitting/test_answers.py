"""What a fit answers: one object for programs, tables for people, and the published figures in both."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchbench.caveats import Caveat
from switchbench.errors import UsageError
from switchbench.laws import Place
from tests.fitting.made_up import CLARK_FILTER, fitted, made_up_rows, run, write_csv
from tests.laws.made_up import SHARED_DATA


def test_the_object_has_what_it_promises(tmp_path: Path):
    path = write_csv(tmp_path / "runs.csv", made_up_rows())
    answer = fitted(path, law="routed", places=(Place(n=1e9, e=4.0),))
    assert {"law", "n_rows", "objective", "parameters", "derived", "goodness", "caveats"} <= set(answer)
    assert (answer["law"], answer["n_rows"], answer["loss"]) == ("routed", 36, "mse-log")
    assert list(answer["parameters"]) == ["E0", "A", "alpha", "g"]
    for parameter in answer["parameters"].values():
        assert {"value", "ci95", "se"} <= set(parameter)
        assert parameter["ci95"][0] < parameter["value"] < parameter["ci95"][1]
        assert parameter["se"] > 0
    worth = answer["derived"]["n_eff_over_n"]
    assert [each["e"] for each in worth] == [4, 8]
    g = answer["parameters"]["g"]["value"]
    assert [each["value"] for each in worth] == pytest.approx([4**g, 8**g])
    assert [each["value"] for each in answer["derived"]["compute_multiplier_fixed_tokens"]] == pytest.approx(
        [4**g, 8**g]
    )
    equivalents = answer["derived"]["dense_equivalent_params"]
    assert equivalents[0]["value"] == pytest.approx(3e8 * 4**g)
    assert "EXTRAPOLATED" in equivalents[0]["caveats"]
    asked = answer["derived"]["prediction"][-1]
    p = {name: each["value"] for name, each in answer["parameters"].items()}
    assert asked["value"] == pytest.approx(p["E0"] + p["A"] * (1e9 * 4 ** p["g"]) ** -p["alpha"])
    assert asked["caveats"] == ["EXTRAPOLATED"]
    assert answer["goodness"]["hold_out"]["rows"] == 6
    assert answer["goodness"]["seed_sd_ln"] == pytest.approx(0.003, rel=0.5)
    assert {law["law"] for law in answer["laws"]} == {"routed", "clark"}
    assert set(answer["footnotes"]) >= set(answer["caveats"])
    assert answer["beside"]["loss"] == "huber:0.001"


def test_laws_are_chosen_by_what_they_predict(tmp_path: Path):
    path = write_csv(tmp_path / "runs.csv", made_up_rows(noise=0.0002))
    answer = fitted(path, law=None)
    held = [law["hold_out_rms_ln"] for law in answer["laws"]]
    assert held == sorted(held)
    assert answer["is_chosen"]
    assert [law["is_this"] for law in answer["laws"]] == [True] + [False] * (len(held) - 1)
    assert answer["law"] == answer["laws"][0]["law"] == "routed"


@pytest.fixture
def clark() -> Path:
    path = SHARED_DATA / "clark_routed" / "clark_final_223.csv"
    if not path.exists():
        pytest.skip(f"needs the published runs of Clark et al. at {path}")
    return path


@pytest.mark.parametrize("law", ["routed", "auto"])
def test_the_published_figures_by_the_command(law: str, clark: Path):
    columns = "n=dense_parameter_count,e=num_experts,loss=loss_validation"
    done = run(str(clark), "--law", law, "--columns", columns, "--where", CLARK_FILTER, "--json", "--bootstrap", "50")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["law"], answer["n_rows"]) == ("routed", 61)
    assert answer["goodness"]["rms_ln"] == pytest.approx(0.003561, rel=0.002)
    worth = {each["e"]: each["value"] for each in answer["derived"]["n_eff_over_n"]}
    assert [worth[e] for e in (8, 64, 512)] == pytest.approx([2.007, 5.136, 10.12], rel=0.01)
    assert answer["rows"]["left_out"] == [{"reason": "--where", "count": 162, "is_filtered": True}]
    assert "FEW_SIZES" in answer["caveats"]
    assert "ROWS_LEFT_OUT" not in answer["caveats"]


def test_the_tables_say_what_was_done(clark: Path):
    done = run(str(clark), "--where", CLARK_FILTER, "--law", "clark", "--bootstrap", "20", "--predict", "n=1e10,e=64")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in (
        "61 of 223 rows: N = dense_parameter_count, E = num_experts, loss = loss_validation",
        "Left out: 162 (--where)",
        "log10 L = a·log10 N + b·log10 Ê + c·log10 N·log10 Ê + d",
        "Deviation of ln L: 0.007374 rms",
        "experts stop paying at N",
        "The largest size, 1.31B, predicted without it",
        "clark (this)",
        "10.0B",
    ):
        assert words in done.stdout
    explained = set(re.findall(r"^\[([a-z])\] ", done.stdout, flags=re.MULTILINE))
    used = {letter for marks in re.findall(r" \[([a-z]+)\]", done.stdout) for letter in marks}
    assert used == explained != set()


def test_groups(tmp_path: Path):
    path = write_csv(tmp_path / "runs.csv", made_up_rows(sizes=6, seeds=3))
    by = {
        name: fitted(path, law="routed", group_by=name)["intervals"] for name in (None, "size", "seed", "none", "kind")
    }
    assert {name: (each["group_by"], each["groups"]) for name, each in by.items()} == {
        None: ("size", 6),
        "size": ("size", 6),
        "seed": ("seed", 3),
        "none": ("row", 54),
        "kind": ("column", 2),
    }
    assert by["none"]["method"] == "cluster_t"
    assert by["none"]["bootstrap"] == "pairs"
    rows = [{key: value for key, value in row.items() if key != "seed"} for row in made_up_rows()]
    seedless = write_csv(tmp_path / "seedless.csv", rows)
    with pytest.raises(UsageError, match="no column seed"):
        fitted(seedless, group_by="seed")


def test_sparse_runs_of_a_dense_models_size(tmp_path: Path):
    """Routers make N differ a little; the sizes are those of the dense models all the same."""
    rows = [row | {"params": row["params"] * (1 + 0.002 * (row["num_experts"] - 1))} for row in made_up_rows()]
    answer = fitted(write_csv(tmp_path / "runs.csv", rows), law="routed")
    assert answer["intervals"]["groups"] == 6
    assert answer["goodness"]["hold_out"]["rows"] == 6
    assert [gain["e"] for gain in answer["goodness"]["hold_out"]["gains"]] == [4, 8]


def test_every_caveat_of_a_fit_has_a_footnote():
    for code in ("UNIDENTIFIED", "AT_BOUND", "NARROW_RANGE", "FEW_POINTS", "EXTRAPOLATED", "SINGLE_SEED", "BIMODAL"):
        assert Caveat(code).footnote.endswith(".")


def test_a_table_of_100_000_rows(tmp_path: Path):
    """Every row another size: nothing is pooled, and the answer is that of the law."""
    generator = np.random.default_rng(0)
    n = np.exp(generator.uniform(14, 21, 100_000))
    loss = (3.4e13 / n) ** 0.079 * np.exp(0.01 * generator.standard_normal(100_000))
    pq.write_table(pa.table({"n": n, "loss": loss, "keep": np.arange(100_000) % 10}), tmp_path / "runs.parquet")
    answer = fitted(tmp_path / "runs.parquet", law="power", where="keep != 3", resamples=4)
    assert answer["n_rows"] == 90_000
    assert answer["parameters"]["alpha"]["value"] == pytest.approx(0.079, rel=1e-3)
