import json
import math
import subprocess
import sys
import typing
import warnings
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factories import Study, make_runs, make_spec, make_steps, make_timing, with_seed, write_study
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.record import RECORD_SCHEMA, RunRecord, StepRecord, TimingRecord
from switchbench.spec import RunSpec
from switchbench.store import (
    ResultsFileWarning,
    SweepFolder,
    read_runs,
    read_statuses,
    read_steps,
    read_timings,
    timed_configs,
    write_run,
    write_timing,
)
from switchbench.store.frames import load_runs, load_steps, load_timings
from switchbench.store.schemas import SCHEMA_VERSION_KEY, SPEC_KEY, arrow_schema

DENSE = make_spec()
SPARSE = make_spec(num_experts=4)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A dense configuration with two finished runs, a sparse one with a finished and a crashed run; both timed."""
    studies = [
        Study(DENSE, {0: [2.0, 1.8, 1.7], 1: [2.1, 1.8, 1.6]}, is_twin=True),
        Study(SPARSE, {0: [1.9, 1.7, 1.6], 1: "crashed"}),
    ]
    return write_study(tmp_path / "results", studies, name="Größe mit Leerzeichen")


def run_file(folder: SweepFolder, spec: RunSpec, *, seed: int = 0) -> Path:
    return folder.runs / f"{with_seed(spec, seed).run_id}.parquet"


def rewrite(path: Path, **changes: Any) -> None:
    """Write a file anew with columns added, replaced, or (None) taken away, metadata kept."""
    table = pq.ParquetFile(path).read()
    metadata = table.schema.metadata
    columns = dict(zip(table.column_names, table.columns, strict=True))
    for name, values in changes.items():
        columns.pop(name) if values is None else columns.update({name: pa.array(values)})
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


# What is written


@pytest.mark.parametrize("record", [RunRecord, StepRecord, TimingRecord])
def test_the_schema_has_a_documented_column_of_the_right_type_per_field(record: type):
    """The slow, obvious twin: what each annotation reads as, spelled out."""
    spelled = {
        "str": "string", "str | None": "string", "int": "int64", "int | None": "int64", "float": "double",
        "float | None": "double", "bool": "bool", "bool | None": "bool", "list[str]": "list<item: string>",
        "list[float] | None": "list<item: double>", "list[list[float]] | None": "list<item: list<item: double>>",
        "list[list[list[int]]] | None": "list<item: list<item: list<item: int64>>>",
    }  # fmt: skip
    schema = arrow_schema(record)
    assert schema.names == list(record.model_fields)
    for name, annotation in typing.get_type_hints(record).items():
        if name == "model_config":
            continue
        text = annotation.__name__ if isinstance(annotation, type) and "[" not in str(annotation) else str(annotation)
        expected = "string" if text.startswith("typing.Literal") else spelled[text]
        assert str(schema.field(name).type) == expected, name
        assert schema.field(name).metadata[b"description"].decode() == record.model_fields[name].description


def test_an_annotation_without_a_column_type_is_refused():
    from switchbench.store.schemas import _arrow_type

    with pytest.raises(TypeError, match="no column type"):
        _arrow_type(dict[str, int])


def test_records_come_back_as_they_were(folder: SweepFolder):
    spec = make_spec(num_experts=8, capacity_factor=None, seed=7)
    runs, steps = make_runs(spec, nll=[1.9, 1.7, 1 / 3], caveats=["REPEATED_DATA"]), make_steps(spec, nll=[3.0, 0.1])
    timing = make_timing(spec, step_time_s=1 / 7)
    write_run(folder, runs=runs, steps=steps, spec=spec)
    write_timing(folder, timing)
    assert [row for row in read_runs(folder) if row.seed == 7] == runs
    assert [row for row in read_steps(folder) if row.run_id == spec.run_id] == steps
    assert [row for row in read_timings(folder) if row.run_id == spec.run_id] == [timing]


@pytest.mark.parametrize("part", ["runs", "steps"])
def test_every_file_has_the_whole_schema_the_version_and_the_specification(folder: SweepFolder, part: str):
    record = {"runs": RunRecord, "steps": StepRecord}[part]
    for seed in (0, 1):  # seed 1 crashed, and left no value in most columns and no step
        spec = with_seed(SPARSE, seed)
        schema = pq.read_schema(folder.path / part / f"{spec.run_id}.parquet")
        assert schema.equals(arrow_schema(record))
        assert schema.metadata[SCHEMA_VERSION_KEY] == str(RECORD_SCHEMA).encode()
        assert RunSpec.model_validate_json(schema.metadata[SPEC_KEY]) == spec


def test_flops_beyond_int64_and_unknown_values_survive(folder: SweepFolder):
    runs = make_runs(SPARSE, nll=[1.5], executed_train_flops=1e25, peak_memory_bytes=None)
    write_run(folder, runs=runs, steps=[], spec=SPARSE)
    (row,) = [row for row in read_runs(folder) if row.run_id == SPARSE.run_id]
    assert row.executed_train_flops == 1e25
    assert row.peak_memory_bytes is None


def test_a_second_attempt_replaces_the_first(folder: SweepFolder):
    spec = with_seed(SPARSE, 1)
    assert read_statuses(folder)[0][spec.run_id] == "crashed"
    write_run(folder, runs=make_runs(spec, nll=[1.9, 1.7, 1.6]), steps=make_steps(spec, nll=[2.0]), spec=spec)
    assert read_statuses(folder)[0][spec.run_id] == "ok"
    assert len(list(folder.runs.glob("*"))) == 4


@pytest.mark.parametrize("status", ["ok", "diverged", "oom"])
@pytest.mark.parametrize("failure", ["killed", "crashed", "timeout"])
def test_a_failure_never_replaces_a_result(folder: SweepFolder, status: str, failure: str):
    first = make_runs(DENSE, nll=[2.0, 1.8, 1.6], status=status)
    curve = make_steps(DENSE, nll=[2.5, 2.0])
    assert write_run(folder, runs=first, steps=curve, spec=DENSE)
    assert not write_run(folder, runs=make_runs(DENSE, nll=[None], status=failure), steps=[], spec=DENSE)
    assert [row for row in read_runs(folder) if DENSE.run_id in (row.run_id, row.parent_run_id)] == first
    assert [row for row in read_steps(folder) if row.run_id == DENSE.run_id] == curve
    again = make_runs(DENSE, nll=[2.0, 1.8, 1.7])
    assert write_run(folder, runs=again, steps=[], spec=DENSE)  # a result does
    assert [row for row in read_runs(folder) if DENSE.run_id in (row.run_id, row.parent_run_id)] == again


def test_a_run_has_exactly_one_end(folder: SweepFolder):
    earlier = make_runs(SPARSE, nll=[1.9, 1.7, 1.6])[:-1]
    with pytest.raises(ValueError, match="values to unpack"):
        write_run(folder, runs=earlier, steps=[], spec=SPARSE)


def test_steps_are_there_before_the_row(folder: SweepFolder):
    spec = make_spec(seed=9)
    folder.runs.rename(folder.path / "gone")
    with pytest.raises(Exception, match="Cannot write"):
        write_run(folder, runs=make_runs(spec, nll=[1.7]), steps=make_steps(spec, nll=[2.0]), spec=spec)
    assert (folder.steps / f"{spec.run_id}.parquet").exists()


# Other tools


def test_pandas_polars_and_duckdb_read_the_folders_as_they_are(folder: SweepFolder):
    for part, rows, columns in (("runs", 10, len(RunRecord.model_fields)), ("steps", 6, len(StepRecord.model_fields))):
        path = folder.path / part
        (path / ".abc.parquet.123-4567.tmp").write_bytes(b"left over by a killed writer")
        frames = [
            pd.read_parquet(path),
            pl.read_parquet(f"{path}/*.parquet").to_pandas(),
            duckdb.sql(f"select * from '{path}/*.parquet'").df(),
        ]
        for frame in frames:
            assert frame.shape == (rows, columns)
        nlls = [sorted(frame["nll"].dropna()) for frame in frames]
        assert nlls[0] == nlls[1] == nlls[2] == sorted(load(folder, part)["nll"].dropna())


def load(folder: SweepFolder, part: str) -> pd.DataFrame:
    return {"runs": load_runs, "steps": load_steps}[part](folder.path)


def test_frames_have_every_column_in_order(folder: SweepFolder, tmp_path: Path):
    root = tmp_path / "results"
    for load_table, record, more, rows in (
        (load_runs, RunRecord, ["is_tuning"], 10),
        (load_steps, StepRecord, [], 6),
        (load_timings, TimingRecord, [], 2),
    ):
        assert list(load_table(root).columns) == [*record.model_fields, *more]
        assert len(load_table(str(root), sweep=folder.path.name)) == rows
    write_study(root, [Study(DENSE, {0: None}, step_time_s=None)], name="empty")
    assert list(load_runs(root, sweep="empty").columns) == [*RunRecord.model_fields, "is_tuning"]
    assert len(load_runs(root, sweep="empty")) == 0
    assert len(load_runs(root)) == 10
    final = load_runs(root)[lambda frame: frame.parent_run_id.isna()]
    assert list(final.status).count("ok") == 3
    assert math.isnan(final.set_index("status").loc["crashed", "nll"])


# Files that are not as they should be


def test_a_column_that_an_older_file_lacks_is_filled(folder: SweepFolder):
    lacking = ("aux_loss", "peak_memory_bytes", "num_experts", "caveats", "run_time_s", "estimated_time_s")
    rewrite(run_file(folder, DENSE), **dict.fromkeys(lacking))
    row = next(row for row in read_runs(folder) if row.run_id == DENSE.run_id)
    assert (row.run_time_s, row.estimated_time_s) == (None, None)
    assert (row.aux_loss, row.peak_memory_bytes, row.num_experts, row.caveats) == (None, None, 1, [])
    frame = load_runs(folder.path).set_index("run_id")
    assert list(frame.columns) == [name for name in (*RunRecord.model_fields, "is_tuning") if name != "run_id"]
    assert math.isnan(frame.loc[DENSE.run_id, "peak_memory_bytes"])


def test_a_column_of_a_newer_file_is_left_out_and_named(folder: SweepFolder):
    rewrite(run_file(folder, DENSE), zeal=["a", "b", "c"])
    with pytest.warns(ResultsFileWarning, match=rf"{DENSE.run_id}.parquet has columns .* leaves out: zeal"):
        rows = read_runs(folder)
    assert len(rows) == 10
    with pytest.warns(ResultsFileWarning, match="zeal"):
        assert "zeal" not in load_runs(folder.path).columns


def test_the_first_file_does_not_set_the_schema(folder: SweepFolder):
    first = sorted(folder.runs.iterdir())[0]
    rewrite(first, nll=None, reason=None)
    assert sum(row.nll is not None for row in read_runs(folder)) == 6


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "not parquet":
        path.write_text("PAR1 but not really")
    elif kind == "foreign":
        pq.write_table(pa.table({"run_id": ["x"], "status": ["ok"]}), path)
    elif kind == "newer":
        metadata = {SCHEMA_VERSION_KEY: str(RECORD_SCHEMA + 1).encode()}
        pq.write_table(pq.ParquetFile(path).read().replace_schema_metadata(metadata), path)
    elif kind == "required column gone":
        rewrite(path, config_id=None)
    elif kind == "wrong type":
        rewrite(path, seed=[["a"], ["b"], ["c"]])
    elif kind == "unknown status":
        rewrite(path, status=["ok", "ok", "paused"])
    elif kind == "folder":
        path.unlink()
        path.mkdir()


KINDS = {
    "empty": "it is empty. The sweep's command trains its run anew.",
    "truncated": "it is no readable Parquet file",
    "not parquet": "it is no readable Parquet file",
    "foreign": "switchbench did not write it. Move it elsewhere",
    "newer": "it has schema version 2, and this switchbench reads up to 1. Upgrade switchbench",
    "required column gone": "it has no column config_id",
    "wrong type": "its column seed is not int64",
    "unknown status": "status is 'paused'",
    "folder": "it is no readable Parquet file",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_read(folder: SweepFolder, kind: str):
    path = run_file(folder, DENSE)
    damage(path, kind)
    with pytest.warns(ResultsFileWarning) as caught:
        rows = read_runs(folder)
    assert len(rows) == 7
    (message,) = [str(warning.message) for warning in caught]
    assert message.startswith(f"{path} is passed over: ")
    assert KINDS[kind] in message


@pytest.mark.parametrize("kind", KINDS)
def test_statuses_list_what_cannot_be_read(folder: SweepFolder, kind: str):
    path = run_file(folder, DENSE)
    damage(path, kind)
    statuses, unreadable = read_statuses(folder)
    if kind == "unknown status":  # a later version's status is still a status
        assert statuses[DENSE.run_id] == "paused"
        return
    assert sorted(statuses.values()) == ["crashed", "ok", "ok"]
    assert [file.path for file in unreadable] == [path]
    assert KINDS[kind] in str(unreadable[0])


def test_statuses_need_the_end_of_a_run(folder: SweepFolder):
    path = run_file(folder, DENSE)
    rewrite(path, parent_run_id=["x", "y", "z"])
    assert "no row for the end" in str(read_statuses(folder)[1][0])
    rewrite(path, status=None)
    assert "it has no column status" in str(read_statuses(folder)[1][0])


def flip_a_value(path: Path, column: str) -> None:
    """Damage the values of one column of a file, and nothing else of it."""
    content = bytearray(path.read_bytes())
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith(column))
    content[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("part", "column"), [("runs", "perplexity"), ("runs", "status"), ("steps", "nll")])
def test_a_run_with_a_damaged_value_does_not_count_as_done(folder: SweepFolder, part: str, column: str):
    """Else a sweep would call it done and a report would call it missing, forever."""
    path = folder.path / part / f"{DENSE.run_id}.parquet"
    flip_a_value(path, column)
    statuses, unreadable = read_statuses(folder)
    assert DENSE.run_id not in statuses
    assert len(statuses) == 3
    assert [file.path for file in unreadable] == [path]


def test_a_timing_with_a_damaged_value_does_not_count_as_measured(folder: SweepFolder):
    flip_a_value(next(folder.timings.glob(f"{DENSE.config_id}-*")), "step_time_s")
    assert timed_configs(folder) == {SPARSE.config_id}


def test_a_result_without_its_curve_does_not_count_as_done(folder: SweepFolder):
    curve = folder.steps / f"{DENSE.run_id}.parquet"
    curve.unlink()
    (folder.steps / f"{with_seed(SPARSE, 1).run_id}.parquet").unlink()  # a crashed run needs none
    statuses, unreadable = read_statuses(folder)
    assert sorted(statuses.values()) == ["crashed", "ok", "ok"]
    assert [str(file) for file in unreadable] == [
        f"{curve}: it is missing. The sweep's command trains its run anew, and draws the curve with it."
    ]


@pytest.mark.parametrize("part", ["steps", "timings"])
def test_damaged_steps_and_timings_are_named_too(folder: SweepFolder, part: str):
    path = min((folder.path / part).iterdir())
    path.write_bytes(path.read_bytes()[:-20])
    reader = {"steps": read_steps, "timings": read_timings}[part]
    with pytest.warns(ResultsFileWarning, match=path.name):
        reader(folder)


def test_a_copy_of_a_file_is_not_read_twice(folder: SweepFolder):
    path = run_file(folder, DENSE)
    path.with_name(f"{path.stem} (conflicted copy).parquet").write_bytes(path.read_bytes())
    with pytest.warns(ResultsFileWarning, match=rf"conflicted copy.*it repeats .* which {path.name} holds"):
        assert len(read_runs(folder)) == 10


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    return write_study(tmp_path_factory.mktemp("one"), [Study(SPARSE, {0: [1.9, 1.7, 1.6]})])


@settings(max_examples=100, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_whatever_happens_to_a_byte_a_result_is_never_wrong(one_run: SweepFolder, place: float, flip: int):
    """A file with a damaged byte is read as it was, or passed over with a warning: checksums cover the values."""
    path = run_file(one_run, SPARSE)
    content = path.read_bytes()
    rows = read_runs(one_run)
    damaged = bytearray(content)
    damaged[int(place * len(content))] ^= flip
    path.write_bytes(damaged)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert read_runs(one_run) == rows or any(str(path) in str(warning.message) for warning in caught)
    finally:
        path.write_bytes(content)


# Fast paths


def test_timed_configs_by_machine(folder: SweepFolder):
    write_timing(folder, make_timing(SPARSE, step_time_s=0.1, machine_id="cccc1111dddd"))
    (folder.timings / "broken.parquet").write_bytes(b"")
    assert timed_configs(folder) == {DENSE.config_id, SPARSE.config_id}
    assert timed_configs(folder, machine_id="cccc1111dddd") == {SPARSE.config_id}
    assert timed_configs(folder, machine_id="elsewhere") == set()
    assert len(list(folder.timings.glob("*.parquet"))) == 4


def test_an_untouched_sweep_has_nothing(tmp_path: Path):
    folder = SweepFolder(tmp_path)
    assert read_statuses(folder) == ({}, [])
    assert timed_configs(folder) == set()
    assert read_runs(folder) == []


def test_statuses_and_records_are_read_without_pandas_and_torch(folder: SweepFolder):
    program = f"""
import json, sys
from pathlib import Path
from switchbench.store import SweepFolder, read_manifest, read_runs, read_statuses, read_timings, timed_configs
folder = SweepFolder(Path({str(folder.path)!r}))
statuses, unreadable = read_statuses(folder)
timed_configs(folder), read_runs(folder), read_timings(folder), read_manifest(folder)
print(json.dumps([sorted(statuses.values()), [name for name in ("pandas", "torch", "scipy") if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert json.loads(done.stdout) == [["crashed", "ok", "ok", "ok"], []]
