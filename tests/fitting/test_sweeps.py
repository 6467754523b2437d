"""The law that a report fits to a sweep: chosen by what its runs differ in, and remembered while they are the same."""

import math
from pathlib import Path

import pytest
from factories import make_runs, make_spec

from switchbench.fitting import SweepFit, fit_sweep
from switchbench.fitting.columns import find_columns
from switchbench.fitting.files import read_table
from switchbench.fitting.rows import use_rows
from switchbench.fitting.storage import read_fits
from switchbench.fitting.sweeps import matmul_parameters
from switchbench.record import RunRecord
from switchbench.store import SweepFolder

SIZES = ("xxs", "xs", "s", "m")


def follows(n: float, e: float, d: float) -> float:
    """``routed-data`` with Ê = E."""
    return 1.2 + 9 * (n * e**0.5) ** -0.2 + 60 * d**-0.35


def runs_of(
    *,
    sizes: tuple[str, ...] = SIZES,
    experts: tuple[int, ...] = (1, 4, 8),
    fractions: int = 3,
    seeds: int = 2,
    **ffn: object,
) -> list[RunRecord]:
    rows = []
    for size in sizes:
        for e in experts:
            for seed in range(seeds):
                spec = make_spec(size=size, num_experts=None if e == 1 else e, seed=seed, ffn={} if e == 1 else ffn)
                points = spec.train.anneal_points[-fractions:]
                n = matmul_parameters(make_runs(spec, nll=[1.0])[0])
                wobble = 1 + 0.001 * math.sin(37 * n + 11 * e + 5 * seed)
                nll = [follows(n, e, point.end_step * spec.train.batch_tokens) * wobble for point in points]
                rows += make_runs(spec, nll=nll)
    return rows


def fitted(folder: Path, rows: list[RunRecord]) -> SweepFit:
    return fit_sweep(SweepFolder(folder), rows)


@pytest.mark.parametrize(
    ("experts", "fractions", "law", "reason"),
    [
        ((1, 4, 8), 3, "routed-data", "routed-data, as the runs differ in size, experts and tokens"),
        ((1, 4, 8), 1, "routed", "routed, as the runs differ in size and experts"),
        ((1,), 3, "chinchilla", "chinchilla, as the runs differ in size and tokens"),
        ((1,), 1, "power", "power, as the runs differ in size"),
    ],
)
def test_the_law_follows_from_what_varies(
    experts: tuple[int, ...], fractions: int, law: str, reason: str, tmp_path: Path
):
    found = fitted(tmp_path, runs_of(experts=experts, fractions=fractions))
    assert found.answer is not None
    assert (found.answer["law"], found.reason) == (law, reason)
    assert found.answer["n_rows"] == len(SIZES) * len(experts) * fractions * 2 == len(found.rows)


def test_of_two_lengths_the_longer_runs_are_fitted(tmp_path: Path):
    found = fitted(tmp_path, runs_of(fractions=2))
    assert found.answer is not None
    assert (found.answer["law"], found.answer["n_rows"]) == ("routed", 24)
    assert found.answer["rows"]["where"].startswith("tokens_seen == 24")
    assert {row.anneal_fraction for row in found.rows} == {1.0}


def test_sparse_runs_of_one_routing_are_fitted(tmp_path: Path):
    """Those that cover the most sizes; the filter says which, and gives the same rows from the files."""
    rows = runs_of(fractions=1, capacity_factor=1.25) + [
        row for row in runs_of(sizes=SIZES[:3], fractions=1, capacity_factor=2.0) if row.ffn_kind == "sparse"
    ]
    found = fitted(tmp_path, rows)
    assert found.answer is not None
    assert found.answer["rows"]["where"] == "(ffn_kind == 'dense' or capacity_factor == 1.25)"
    assert found.answer["rows"]["left_out"] == [{"reason": "--where", "count": 12, "is_filtered": True}]
    assert len(found.rows) == found.answer["n_rows"] == 24
    assert {row.capacity_factor for row in found.rows} == {None, 1.25}


def test_what_is_missing_is_said(tmp_path: Path):
    for sizes, words in ((SIZES[:1], "these are all of one"), (SIZES[:2], "these are of 2")):
        found = fitted(tmp_path, runs_of(sizes=sizes))
        assert found.answer is None
        assert found.reason.startswith("No law of loss is fitted: that takes runs of at least 3 sizes, and " + words)
    assert fitted(tmp_path, []).answer is None
    same = [row.model_copy(update={"nll": 2.0}) for row in runs_of(experts=(1,), fractions=1)]
    equal = fitted(tmp_path, same)
    assert equal.answer is None
    assert "losses are equal" in equal.reason
    assert not list(tmp_path.iterdir())


def test_a_fit_is_remembered_while_the_runs_are_the_same(tmp_path: Path):
    rows = runs_of(fractions=1)
    first = fitted(tmp_path, rows)
    written = (tmp_path / "fits.json").stat().st_mtime_ns
    again = fitted(tmp_path, rows[::-1])
    assert again.answer == first.answer == read_fits(tmp_path)[0]
    assert (tmp_path / "fits.json").stat().st_mtime_ns == written
    assert first.answer is not None
    more = fitted(tmp_path, [*rows, *[row for row in runs_of(fractions=1, seeds=3) if row.seed == 2]])
    assert more.answer is not None
    assert more.answer["n_rows"] == 36
    assert more.answer["rows"]["sha256"] != first.answer["rows"]["sha256"]
    assert len(read_fits(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_fitted_all_the_same(tmp_path: Path):
    (tmp_path / "fits.json").mkdir()
    assert fitted(tmp_path, runs_of(fractions=1)).answer is not None


def test_the_parameters_counted_are_those_of_a_table_of_our_own():
    folder = Path(__file__).resolve().parents[2] / "results" / "reference" / "cost_scaling"
    table = read_table(folder)
    used = use_rows(table, find_columns(table.column_names, {}))
    rows = [RunRecord.model_validate(row) for row in table.to_pylist()]
    assert [matmul_parameters(row) for row in rows] == used.observations.n.tolist()
