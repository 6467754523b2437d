import math
from pathlib import Path

import pytest
from factories import Study, make_runs, make_spec, with_seed, write_study

from switchbench.report import SweepReport, Table, build_report
from switchbench.report.elements import Cell, place_footnotes
from switchbench.store import write_run
from switchbench.store.frames import load_runs, load_timings

DENSE = make_spec()
SPARSE = make_spec(num_experts=4, capacity_factor=2.0)
TIGHT = make_spec(num_experts=4, capacity_factor=1.0)
DROPLESS = make_spec(num_experts=4, capacity_factor=None)
GOOD = {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72]}
BETTER = {0: [1.9, 1.7, 1.62], 1: [1.9, 1.7, 1.65]}
WORSE = {0: [2.1, 1.9, 1.80], 1: [2.1, 1.9, 1.81]}


def report_of(tmp_path: Path, *studies: Study) -> SweepReport:
    write_study(tmp_path, studies)
    (sweep,) = build_report(tmp_path).sweeps
    return sweep


def table(sweep: SweepReport, key: str) -> Table:
    return next(table for table in sweep.tables if table.key == key)


def cell(shown: Table, config_id: str, column: str) -> Cell:
    row = next(row for row in shown.rows if row.config_id == config_id)
    return row.cells[[column.key for column in shown.columns].index(column)]


@pytest.fixture
def sweep(tmp_path: Path) -> SweepReport:
    return report_of(
        tmp_path,
        Study(TIGHT, WORSE, step_time_s=0.03),
        Study(SPARSE, BETTER, step_time_s=0.04),
        Study(DENSE, GOOD, is_twin=True),
    )


def test_every_mean_is_the_one_that_pandas_finds(sweep: SweepReport, tmp_path: Path):
    """The slow, obvious twin: group the rows of the ends, take means and standard deviations."""
    runs = load_runs(tmp_path)
    ends = runs[runs.parent_run_id.isna() & (runs.status == "ok")].groupby("config_id")
    timings = load_timings(tmp_path).set_index("config_id")
    checked = 0
    for shown in sweep.tables:
        for column in shown.columns:
            for row in shown.rows:
                found = cell(shown, row.config_id, column.key)
                if not isinstance(found.value, float) or column.is_label:
                    continue
                if column.key in ("step_time_s", "tokens_per_second"):
                    expected, spread = timings.loc[row.config_id, column.key], None
                elif column.key == "perplexity":
                    expected, spread = math.exp(ends.nll.mean()[row.config_id]), None
                elif column.key in runs.columns and column.key != "peak_memory_bytes":
                    expected = ends[column.key].mean()[row.config_id]
                    spread = pytest.approx(ends[column.key].std()[row.config_id])
                else:
                    continue
                assert found.value == pytest.approx(expected), column.key
                assert found.spread == spread, column.key
                checked += 1
    assert checked > 50


def test_head_to_head_has_the_shape_of_the_papers_table(sweep: SweepReport):
    shown = table(sweep, "head_to_head")
    assert [row.config_id for row in shown.rows] == [DENSE.config_id, TIGHT.config_id, SPARSE.config_id]
    assert [column.key for column in shown.columns] == [
        "model", "num_experts", "capacity_factor", "neg_log_perplexity", "perplexity", "bits_per_byte", "delta_nll",
        "time_to_quality_s", "tokens_per_second", "step_speedup", "time_speedup", "flops_speedup_provisioned",
        "flops_speedup_executed", "seeds",
    ]  # fmt: skip
    dense, tight, sparse = ([cell.text for cell in row.cells] for row in shown.rows)
    assert dense[:4] == ["dense xxs", "–", "–", "-1.710 ± 0.014"]
    assert sparse[:4] == ["Switch xxs", "4", "2", "-1.635 ± 0.021"]
    assert dense[-5:] == ["1x", "1x", "1x", "1x", "2"]
    assert tight[7] == "not reached"
    assert tight[9] == "not reached"
    assert "NOT_REACHED" in cell(shown, TIGHT.config_id, "time_speedup").caveats


def test_time_to_the_target_is_steps_times_step_time(sweep: SweepReport):
    shown = table(sweep, "head_to_head")
    steps = DENSE.train.num_steps
    assert cell(shown, DENSE.config_id, "time_to_quality_s").value == pytest.approx(steps * 0.02)
    step_speedup = cell(shown, SPARSE.config_id, "step_speedup").value
    assert isinstance(step_speedup, float)
    assert cell(shown, SPARSE.config_id, "time_to_quality_s").value == pytest.approx(steps / step_speedup * 0.04)
    assert cell(shown, SPARSE.config_id, "time_speedup").value == pytest.approx(step_speedup / 2)


def test_capacity_stands_in_order_for_each_number_of_experts(tmp_path: Path):
    other = make_spec(num_experts=16, capacity_factor=1.25)
    sweep = report_of(
        tmp_path,
        Study(DROPLESS, BETTER),
        Study(other, BETTER),
        Study(SPARSE, BETTER),
        Study(TIGHT, BETTER),
        Study(DENSE, GOOD, is_twin=True),
    )
    shown = table(sweep, "capacity")
    assert [[cell.text for cell in row.cells[1:3]] for row in shown.rows] == [
        ["4", "1"], ["4", "2"], ["4", "dropless"], ["16", "1.25"],
    ]  # fmt: skip
    assert [row.starts_group for row in shown.rows] == [True, False, False, True]
    assert cell(shown, SPARSE.config_id, "dropped_token_fraction").text == "8.00 ± 0.00%"
    assert cell(shown, SPARSE.config_id, "dropped_token_fraction_last_quarter").text == "4.00 ± 0.00%"
    provisioned = [cell(shown, spec.config_id, "provisioned_train_flops").value for spec in (TIGHT, SPARSE)]
    assert provisioned[0] < provisioned[1]
    assert any("evaluation capacity" in note for note in shown.notes)


def test_one_capacity_factor_makes_one_group(tmp_path: Path):
    sweep = report_of(tmp_path, *(Study(make_spec(num_experts=experts), BETTER) for experts in (4, 8, 16)))
    assert [row.starts_group for row in table(sweep, "capacity").rows] == [True, False, False]
    assert table(sweep, "capacity").notes == ()


def test_peak_memory_is_the_largest_of_the_seeds(tmp_path: Path):
    folder = write_study(tmp_path, [Study(DENSE, GOOD)])
    spec = with_seed(DENSE, 1)
    write_run(folder, runs=make_runs(spec, nll=[1.72], peak_memory_bytes=2**30), steps=[], spec=spec)
    (sweep,) = build_report(tmp_path).sweeps
    assert cell(table(sweep, "cost"), DENSE.config_id, "peak_memory_bytes").text == "1.00 ± 0.58 GiB"


def test_each_dense_twin_stands_above_its_own(tmp_path: Path):
    small = make_spec(size="xs"), make_spec(size="xs", num_experts=4)
    lonely = make_spec(size="s", num_experts=4)
    sweep = report_of(
        tmp_path,
        Study(lonely, BETTER),
        Study(SPARSE, BETTER),
        Study(small[1], BETTER),
        Study(DENSE, GOOD, is_twin=True),
        Study(small[0], GOOD, is_twin=True),
    )
    shown = table(sweep, "cost")
    expected = [DENSE, SPARSE, small[0], small[1], lonely]
    assert [row.config_id for row in shown.rows] == [spec.config_id for spec in expected]
    assert [row.starts_group for row in shown.rows] == [True, False, True, False, True]
    assert cell(table(sweep, "head_to_head"), lonely.config_id, "step_speedup").text == "–"


def test_other_swept_settings_get_a_column_of_their_own(tmp_path: Path):
    studies = []
    for rate in (5e-3, 1e-2):
        train = {"learning_rate": rate}
        settings = {"train.learning_rate": rate, "model.ffn.aux_loss_weight": 0.01, "seed": 0}
        studies.append(Study(make_spec(train=train), GOOD, settings=settings, is_twin=True))
        for weight in (0.01, 0.1):
            spec = make_spec(num_experts=4, train=train, ffn={"aux_loss_weight": weight})
            studies.append(Study(spec, BETTER, settings=settings | {"model.ffn.aux_loss_weight": weight}))
    sweep = report_of(tmp_path, *studies)
    shown = table(sweep, "head_to_head")
    labels = [column for column in shown.columns if column.is_label]
    assert [column.key for column in labels[3:]] == ["train.learning_rate", "model.ffn.aux_loss_weight"]
    texts = [[cell.text for cell in row.cells[3:5]] for row in shown.rows]
    weights = ["–", "0.01", "0.1"]  # a dense model has no such setting
    assert texts == [[rate, weight] for rate in ("0.005", "0.01") for weight in weights]
    assert "(4 experts, capacity factor 1.25, learning rate 0.005, aux loss weight 0.01)" in sweep.summary


def test_only_dense_and_only_sparse(tmp_path: Path):
    dense = report_of(tmp_path / "dense", Study(DENSE, GOOD))
    assert [table.key for table in dense.tables] == ["head_to_head", "cost"]
    assert cell(table(dense, "head_to_head"), DENSE.config_id, "step_speedup").text == "–"
    assert dense.comparisons == ()
    sparse = report_of(tmp_path / "sparse", Study(SPARSE, BETTER))
    assert [table.key for table in sparse.tables] == ["head_to_head", "cost", "capacity", "routing"]
    assert cell(table(sparse, "head_to_head"), SPARSE.config_id, "time_to_quality_s").text == "–"


# Doubts


def test_one_seed_says_so(tmp_path: Path):
    sweep = report_of(tmp_path, Study(DENSE, {0: [2.0, 1.8, 1.7]}, is_twin=True), Study(SPARSE, {0: [1.9, 1.7, 1.6]}))
    shown = table(sweep, "head_to_head")
    assert cell(shown, SPARSE.config_id, "neg_log_perplexity").text == "-1.600"
    assert cell(shown, SPARSE.config_id, "neg_log_perplexity").spread is None
    for column in ("seeds", "delta_nll", "step_speedup", "time_speedup"):
        assert "SINGLE_SEED" in cell(shown, SPARSE.config_id, column).caveats
    assert any(sentence.startswith("One seed") for sentence in place_footnotes(shown).sentences.values())


def test_a_bound_is_shown_as_one(tmp_path: Path):
    sweep = report_of(
        tmp_path, Study(DENSE, GOOD, is_twin=True), Study(SPARSE, {0: [1.5, 1.4, 1.3], 1: [1.5, 1.4, 1.3]})
    )
    shown = table(sweep, "head_to_head")
    assert cell(shown, SPARSE.config_id, "step_speedup").text.startswith("> ")
    assert cell(shown, SPARSE.config_id, "time_to_quality_s").text.startswith("< ")
    assert "BOUND_ONLY" in cell(shown, SPARSE.config_id, "time_to_quality_s").caveats


def test_without_timings_times_are_unknown(tmp_path: Path):
    sweep = report_of(
        tmp_path, Study(DENSE, GOOD, is_twin=True, step_time_s=None), Study(SPARSE, BETTER, step_time_s=None)
    )
    shown = table(sweep, "head_to_head")
    for column in ("time_to_quality_s", "tokens_per_second", "time_speedup"):
        found = cell(shown, SPARSE.config_id, column)
        assert (found.text, found.value) == ("–", None)
        assert "NOT_TIMED" in found.caveats
    assert cell(shown, SPARSE.config_id, "step_speedup").value is not None


def test_mixed_code_and_machines_are_said(tmp_path: Path):
    sweep = report_of(
        tmp_path,
        Study(DENSE, GOOD, is_twin=True),
        Study(SPARSE, BETTER, columns={"commit": "fffffff", "machine_id": "other"}),
    )
    cost = table(sweep, "cost")
    assert cell(cost, DENSE.config_id, "wall_clock_s").caveats == ("MIXED_CODE", "MIXED_MACHINES")
    assert "MIXED_CODE" in cell(table(sweep, "head_to_head"), SPARSE.config_id, "delta_nll").caveats
    assert cell(cost, SPARSE.config_id, "params_total").caveats == ()


def test_what_the_rows_bring_along_stands_at_their_quality(tmp_path: Path):
    sweep = report_of(
        tmp_path,
        Study(DENSE, GOOD, is_twin=True),
        Study(SPARSE, BETTER, columns={"caveats": ["REPEATED_DATA", "NEWER"]}),
    )
    shown = table(sweep, "head_to_head")
    assert cell(shown, SPARSE.config_id, "neg_log_perplexity").caveats == ("REPEATED_DATA", "NEWER")
    assert cell(shown, DENSE.config_id, "neg_log_perplexity").caveats == ()
    assert any(sentence.startswith("NEWER: ") for sentence in place_footnotes(shown).sentences.values())


@pytest.mark.parametrize(
    ("ffn", "name"),
    [
        ({}, "Switch xxs"),
        ({"router": "top_k", "top_k": 2}, "top-2 xxs"),
        ({"router": "hash"}, "hash xxs"),
        ({"router": "expert_choice"}, "expert choice xxs"),
    ],
)
def test_a_model_is_called_by_its_router(tmp_path: Path, ffn: dict, name: str):
    spec = make_spec(num_experts=4, capacity_factor=1.0, ffn=ffn)
    sweep = report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(spec, BETTER))
    shown = [each for each in sweep.tables if any(column.key == "model" for column in each.columns)]
    rows = [row for each in shown for row in each.rows if row.config_id == spec.config_id]
    assert len(rows) >= 4
    assert {row.cells[0].text for row in rows} == {name}


def test_expert_choice_is_flagged_in_every_table_and_compared_in_none(tmp_path: Path):
    spec = make_spec(num_experts=4, capacity_factor=1.0, ffn={"router": "expert_choice"})
    sweep = report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(spec, BETTER))
    for shown in sweep.tables:
        assert cell(shown, spec.config_id, "model").caveats == ("NON_CAUSAL_ROUTING",)
        assert any("later ones" in sentence for sentence in place_footnotes(shown).sentences.values())
    assert {comparison.value for comparison in sweep.comparisons} == {None}
    assert all("NON_CAUSAL_ROUTING" in comparison.caveats for comparison in sweep.comparisons)
    assert cell(table(sweep, "capacity"), spec.config_id, "nll_capacity").value is not None


def test_failed_runs_are_left_out_of_means_and_counted(tmp_path: Path):
    sweep = report_of(
        tmp_path,
        Study(DENSE, GOOD, is_twin=True),
        Study(SPARSE, {0: [1.9, 1.7, 1.62], 1: "killed"}),
        Study(TIGHT, {0: "diverged", 1: "diverged"}),
    )
    shown = table(sweep, "head_to_head")
    assert cell(shown, SPARSE.config_id, "seeds").text == "1 of 2"
    assert cell(shown, SPARSE.config_id, "seeds").caveats == ("SINGLE_SEED", "MISSING_RUNS")
    assert TIGHT.config_id not in [row.config_id for row in shown.rows]
    assert [(problem.status, problem.seed) for problem in sweep.problems] == [
        ("killed", 1), ("diverged", 0), ("diverged", 1),
    ]  # fmt: skip
