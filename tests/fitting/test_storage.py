"""Fits that are stored: next to a sweep's results or where asked for, whole and as numbers, and found again."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchbench import __version__
from switchbench.errors import ResultsFolderError
from switchbench.fitting import FitRequest, fit_table, signed_json, store_fit
from switchbench.fitting.files import read_table
from switchbench.fitting.storage import find_fit, read_fits
from tests.fitting.made_up import made_up_rows, run, write_csv


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A fit as it is stored."""
    path = write_csv(tmp_path_factory.mktemp("table") / "runs.csv", made_up_rows())
    request = FitRequest(path=path, law="routed", where="seed >= 0", resamples=0, is_alone=True)
    return json.loads(json.dumps(signed_json(fit_table(request))))


def test_every_number_is_a_row(content: dict, tmp_path: Path):
    store_fit(tmp_path / "new" / "folder", content)
    assert read_fits(tmp_path / "new" / "folder") == [content]
    rows = pq.read_table(tmp_path / "new" / "folder" / "fits.parquet").to_pylist()
    by_name = {row["name"]: row for row in rows if row["measure"] == "parameter"}
    assert list(by_name) == ["E0", "A", "alpha", "g"]
    for name, row in by_name.items():
        parameter = content["parameters"][name]
        assert (row["value"], row["se"], row["unit"]) == (parameter["value"], parameter["se"], parameter["unit"])
        assert [row["ci95_low"], row["ci95_high"]] == parameter["ci95"]
        assert (row["law"], row["loss"], row["where"], row["n_rows"]) == ("routed", "mse-log", "seed >= 0", 36)
        assert (row["switchbench_version"], row["fitted_at"]) == (__version__, content["fitted_at"])
        assert (row["rows_sha256"], row["fit_caveats"]) == (content["rows"]["sha256"], content["caveats"])
    worth = [(row["e"], row["value"]) for row in rows if row["measure"] == "n_eff_over_n"]
    assert worth == [(each["e"], each["value"]) for each in content["derived"]["n_eff_over_n"]]
    assert len(rows) == 4 + sum(len(places) for places in content["derived"].values())


def test_a_fit_takes_the_place_of_the_same_request_and_of_no_other(content: dict, tmp_path: Path):
    other = content | {"fit_id": "other"}
    for each in (content, other, content | {"fitted_at": "later"}):
        store_fit(tmp_path, each)
    assert [(each["fit_id"], each["fitted_at"]) for each in read_fits(tmp_path)] == [
        ("other", content["fitted_at"]),
        (content["fit_id"], "later"),
    ]
    assert len(pq.read_table(tmp_path / "fits.parquet")) % 2 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fits.json", "fits.parquet"]


def test_only_the_same_rows_request_and_version_are_found_again(content: dict, tmp_path: Path):
    store_fit(tmp_path, content)
    same = {"fit_id": content["fit_id"], "rows_sha256": content["rows"]["sha256"]}
    assert find_fit(tmp_path, **same) == content
    assert find_fit(tmp_path, **same | {"rows_sha256": "0"}) is None
    assert find_fit(tmp_path, **same | {"fit_id": "0"}) is None
    store_fit(tmp_path, content | {"switchbench_version": "0.0.1"})
    assert find_fit(tmp_path, **same) is None
    assert find_fit(tmp_path / "absent", **same) is None


def test_rows_are_told_apart_by_what_is_fitted_and_not_by_their_order(tmp_path: Path):
    def hash_of(rows: list[dict[str, object]], **fields: object) -> str:
        request = FitRequest(path=write_csv(tmp_path / "runs.csv", rows), law="routed", resamples=0, **fields)
        return fit_table(request).rows.sha256

    rows = made_up_rows()
    found = hash_of(rows)
    assert hash_of(rows[::-1]) == found
    assert hash_of([row | {"unused": 1} for row in rows]) == found
    assert hash_of([*rows[1:], rows[0] | {"nll": rows[0]["nll"] + 1e-9}]) != found
    assert hash_of(rows[1:]) != found
    assert hash_of(rows, group_by="kind") != found


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fits": 3}', '{"fits": [3]}'])
def test_a_damaged_file_is_replaced(text: str, content: dict, tmp_path: Path):
    (tmp_path / "fits.json").write_text(text)
    assert find_fit(tmp_path, fit_id=content["fit_id"], rows_sha256="") is None
    store_fit(tmp_path, content)
    assert read_fits(tmp_path) == [content]


def test_what_a_newer_version_wrote_is_not_overwritten(content: dict, tmp_path: Path):
    (tmp_path / "fits.json").write_text('{"schema_version": 99, "fits": []}')
    with pytest.raises(ResultsFolderError, match="upgrade"):
        store_fit(tmp_path, content)
    assert "99" in (tmp_path / "fits.json").read_text()


def test_the_command_stores_next_to_a_sweeps_results_and_elsewhere_where_asked(tmp_path: Path):
    source = Path(__file__).resolve().parents[2] / "results" / "reference" / "cost_scaling"
    sweep, filtered = tmp_path / "cost_scaling", ("--where", "tokens_seen > 40000 and num_experts == 1")
    shutil.copytree(source, sweep, ignore=shutil.ignore_patterns("steps", "fits.*"))
    done = run(str(sweep), "--law", "power", *filtered, "--bootstrap", "0", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer == read_fits(sweep)[-1]
    assert (answer["n_rows"], answer["columns"]["total"]) == (6, "params_total")
    assert (sweep / "fits.parquet").is_file()
    table = write_csv(tmp_path / "runs.csv", made_up_rows())
    for words in ((), ("--output", str(tmp_path / "kept"))):
        assert run(str(table), "--law", "routed", "--bootstrap", "0", *words).returncode == 0
        assert (tmp_path / "kept" / "fits.json").exists() == bool(words)
    assert {path.name for path in tmp_path.iterdir()} == {"cost_scaling", "runs.csv", "kept"}


def test_where_nothing_can_be_written_the_answer_is_given_all_the_same(tmp_path: Path):
    table = write_csv(tmp_path / "runs.csv", made_up_rows())
    (tmp_path / "file").touch()
    done = run(str(table), "--law", "routed", "--bootstrap", "0", "--json", "--output", str(tmp_path / "file"))
    assert done.returncode == 2
    assert json.loads(done.stdout)["n_rows"] == 36
    assert done.stderr.startswith("error: the fit is not stored: ")
    assert "--output DIR" in done.stderr


def test_a_sweep_that_cannot_be_written_is_fitted_with_a_warning(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "fits.json").mkdir()  # so that nobody can write a file of that name, whoever runs the test
    pq.write_table(pa.Table.from_pylist(made_up_rows()), tmp_path / "runs" / "a.parquet")
    done = run(str(tmp_path), "--law", "routed", "--bootstrap", "0", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["n_rows"] == 36
    assert done.stderr.startswith("warning: the fit is not stored: ")
    assert not (tmp_path / "fits.parquet").exists()


def test_stored_fits_are_no_runs(content: dict, tmp_path: Path):
    pq.write_table(pa.Table.from_pylist(made_up_rows()), tmp_path / "a.parquet")
    store_fit(tmp_path, content)
    assert len(read_table(tmp_path)) == 36
