"""The tables that `switchbench fit` reads: every kind of file, and sweeps' own folders."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from switchbench.errors import SwitchbenchError, TableError
from switchbench.fitting.columns import find_columns
from switchbench.fitting.files import read_table
from switchbench.fitting.rows import use_rows
from tests.fitting.made_up import fitted, made_up_rows, write_csv


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
    with pytest.raises(SwitchbenchError, match="2 different sizes"):
        fitted(reference / "capacity")


def test_text_of_another_encoding(tmp_path: Path):
    lines = ["params,nll,name", *(f"{1e6 * 2**i},{3 - 0.1 * i},caf\xe9" for i in range(8))]
    (tmp_path / "runs.csv").write_bytes("\n".join(lines).encode("latin-1"))
    assert fitted(tmp_path / "runs.csv", law="power", where="name != 'x'")["n_rows"] == 8
