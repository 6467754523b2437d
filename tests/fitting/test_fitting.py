"""`switchbench fit` from a table to its answer: columns, rows, and everything that can be wrong with them."""

import csv
import gzip
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchbench.caveats import Caveat
from switchbench.errors import SwitchbenchError, TableError, UsageError
from switchbench.fitting import FitRequest, fit_json, fit_table
from switchbench.fitting.columns import find_columns, parse_columns
from switchbench.fitting.files import read_table
from switchbench.fitting.request import parse_places
from switchbench.fitting.rows import use_rows
from switchbench.laws import Place
from tests.laws.made_up import SHARED_DATA, TYPICAL, grid, observed, unsaturated

CLARK_FILTER = (
    "routing_frequency == 0.5 and k == 1 and flop_increase == 1 and "
    "(router_type == 'Dense' or router_type == 'S-Base' and seed == 42)"
)


def made_up_rows(*, sizes: int = 6, seeds: int = 2, noise: float = 0.003) -> list[dict[str, Any]]:
    columns = grid(np.geomspace(1e6, 3e8, sizes), [1.0, 4.0, 8.0], seeds=seeds)
    runs = observed("routed", unsaturated(TYPICAL["routed"]), columns, noise=noise, generator=np.random.default_rng(0))
    return [
        {"params": n, "num_experts": int(e), "nll": loss, "seed": int(seed), "kind": "dense" if e == 1 else "sparse"}
        for n, e, loss, seed in zip(runs.n, runs.experts, runs.loss, columns["seed"], strict=True)
    ]


def write_csv(path: Path, rows: list[dict[str, Any]], *, delimiter: str = ",") -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["params", "nll"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def fitted(path: Path, **fields: Any) -> dict[str, Any]:
    """The JSON answer, as a program reads it."""
    request = FitRequest(path=path, **{"resamples": 30} | fields)
    return json.loads(json.dumps(fit_json(fit_table(request)), allow_nan=False))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "switchbench", "fit", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "240", "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("name", ["runs.csv", "runs.csv.gz", "runs.tsv", "runs.parquet", "folder"])
def test_every_kind_of_file_gives_the_same_fit(name: str, tmp_path: Path):
    rows = made_up_rows()
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        pq.write_table(pa.Table.from_pylist(rows[:10]), path / "a.parquet")
        # A later file may have a column more.
        pq.write_table(pa.Table.from_pylist([row | {"extra": 1} for row in rows[10:]]), path / "b.parquet")
    elif name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write_csv(path, rows, delimiter="\t" if "tsv" in name else ",")
    answer = fitted(path, law="routed")
    assert answer["n_rows"] == 36
    reference = fitted(write_csv(tmp_path / "reference.csv", rows), law="routed")
    for parameter, found in answer["parameters"].items():
        assert found["value"] == pytest.approx(reference["parameters"][parameter]["value"], rel=1e-9)


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


def test_text_of_another_encoding(tmp_path: Path):
    lines = ["params,nll,name", *(f"{1e6 * 2**i},{3 - 0.1 * i},caf\xe9" for i in range(8))]
    (tmp_path / "runs.csv").write_bytes("\n".join(lines).encode("latin-1"))
    assert fitted(tmp_path / "runs.csv", law="power", where="name != 'x'")["n_rows"] == 8


def test_equal_losses_are_no_law(tmp_path: Path):
    rows = [row | {"nll": 3.0} for row in made_up_rows()]
    path = write_csv(tmp_path / "runs.csv", rows)
    with pytest.raises(SwitchbenchError, match="all 36 losses are equal"):
        fitted(path, law="routed")
    with pytest.raises(SwitchbenchError, match="no law"):
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


def test_sparse_runs_of_a_dense_models_size(tmp_path: Path):
    """Routers make N differ a little; the sizes are those of the dense models all the same."""
    rows = [row | {"params": row["params"] * (1 + 0.002 * (row["num_experts"] - 1))} for row in made_up_rows()]
    answer = fitted(write_csv(tmp_path / "runs.csv", rows), law="routed")
    assert answer["intervals"]["groups"] == 6
    assert answer["goodness"]["hold_out"]["rows"] == 6
    assert [gain["e"] for gain in answer["goodness"]["hold_out"]["gains"]] == [4, 8]


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


def test_files_that_are_no_tables(tmp_path: Path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "notes.txt").write_text("no")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "twice.csv").write_text("n,n,loss\n1,2,3\n")
    for name, words in (
        ("absent.csv", "does not exist"),
        ("empty.csv", "is empty"),
        ("broken.parquet", "no readable Parquet"),
        ("ragged.csv", "no readable CSV"),
        ("notes.txt", "of no kind"),
        ("nothing", "no Parquet files"),
        ("twice.csv", "more than one column 'n'"),
    ):
        with pytest.raises(TableError, match=words):
            read_table(tmp_path / name)


def test_our_own_results_are_read_as_they_are():
    reference = Path(__file__).resolve().parents[2] / "results" / "reference"
    table = read_table(reference / "capacity")
    columns = find_columns(table.column_names, {})
    used = use_rows(table, columns)
    sizes = {e: float(used.observations.n[used.observations.experts == e][0]) for e in (1, 4, 16)}
    rows = table.to_pylist()
    dense = next(row for row in rows if row["num_experts"] == 1)
    # 2 FLOPs per matmul parameter; what is left is attention over the sequence's positions.
    assert sizes[1] == dense["params_active"] - dense["params_norm"]
    assert sizes[1] < sizes[4] < sizes[16] < 1.05 * sizes[1]
    with pytest.raises(TableError, match="holds the sweeps capacity"):
        read_table(reference)
    with pytest.raises(SwitchbenchError, match="no law can be fitted"):
        fitted(reference / "capacity")


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
