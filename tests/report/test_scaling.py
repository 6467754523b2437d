import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from factories import Study, make_spec, write_study
from rich.console import Console

from switchbench.compare import SCALING_COSTS, Scaling
from switchbench.report import SweepReport, build_report, render_report, report_json
from switchbench.report.elements import Table
from switchbench.report.scaling import how_to_read, scaling_table

NLLS = {0: [2.0, 1.8, 1.7]}
SIZES = ("xxs", "xs", "s")


def write_ladder(root: Path, *, experts: tuple[int, ...] = (2, 8, 32)) -> SweepReport:
    """Three shapes; the time of a step grows by 20% from one number of experts to the next, memory by 16 bytes each."""
    studies = []
    for i, size in enumerate(SIZES):
        dense = make_spec(size=size)
        studies.append(Study(dense, NLLS, is_twin=True, step_time_s=0.02 * 4**i))
        for j, number in enumerate(experts):
            spec = make_spec(size=size, num_experts=number)
            memory = {"peak_memory_bytes": 50_000_000 * 4**i + 16 * 100_000 * 4**i * number}
            studies.append(Study(spec, NLLS, step_time_s=0.024 * 4**i * 1.2**j, columns=memory))
    write_study(root, studies)
    (sweep,) = build_report(root).sweeps
    return sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepReport:
    return write_ladder(tmp_path_factory.mktemp("ladder"))


def table(sweep: SweepReport) -> Table:
    return next(table for table in sweep.tables if table.key == "scaling")


def made_up(cost: str, exponent: float | None, *, half_width: float = 0.05, added: float = 16.0) -> Scaling:
    return Scaling(
        group="sparse_by_experts",
        cost=cost,  # type: ignore[arg-type]
        exponent=exponent,
        ci95=None if exponent is None else (exponent - half_width, exponent + half_width),
        per_added_param=added,
        configurations=3,
        n_min=1000,
        n_max=9000,
        caveats=(),
    )


def words(**exponents: tuple[float | None, float]) -> str:
    """What the table says of sparse models whose costs grow with these exponents; the others are in proportion."""
    fitted = {cost: made_up(cost, 1.0, half_width=0.0) for cost in SCALING_COSTS}
    for cost, (exponent, half_width) in exponents.items():
        fitted[cost] = made_up(cost, exponent, half_width=half_width)
    built = scaling_table(list(fitted.values()))
    assert built is not None
    return " ".join(built.notes)


def test_the_cells_are_the_exponents(sweep: SweepReport):
    shown = table(sweep)
    assert [row.cells[0].text for row in shown.rows] == ["dense, by size", "sparse, by experts", "sparse, all"]
    keys = [column.key for column in shown.columns]
    checked = 0
    for row in shown.rows:
        assert row.config_id is None
        for each in sweep.scaling:
            if each.group == row.cells[0].value and each.cost in keys:
                cell = row.cells[keys.index(each.cost)]
                assert (cell.value, cell.ci95, cell.caveats) == (each.exponent, each.ci95, each.caveats)
                assert cell.text.startswith(f"{each.exponent:.2f} [")
                checked += 1
    assert checked == 12
    assert [cell.text for cell in shown.rows[1].cells[1:4]] == ["9", "74.3k", "27.9M"]
    assert shown.rows[1].cells[-1].text == "1.00 [1.00, 1.00]"


def test_what_they_say_about_sparse_models(sweep: SweepReport):
    said, about_dense = table(sweep).notes
    assert said.startswith(
        "With more experts at the same shape FLOPs per token and step time grow sub-linearly; "
        "the training state grows in proportion to the parameters, not sub-linearly. "
        "Nor does peak memory grow sub-linearly, although its exponent is 0."
    )
    assert about_dense.startswith("With larger dense models ")


def test_a_cost_is_said_to_grow_as_its_interval_tells():
    assert "; step time grows sub-linearly;" in words(
        useful_train_flops_per_token=(1.0, 0.0), step_time_s=(0.5, 0.1), peak_memory_bytes=(1.2, 0.1)
    )
    assert "step time grows sub-linearly, if at all" in words(step_time_s=(0.1, 0.2))
    assert "whether step time grows sub-linearly is not decided" in words(step_time_s=(0.9, 0.2))
    assert "whether step time grows sub-linearly is not decided" in words(step_time_s=(0.5, 2.0))
    assert "peak memory grows faster than in proportion to the parameters" in words(peak_memory_bytes=(1.2, 0.1))
    assert "FLOPs per token grow sub-linearly" in words(useful_train_flops_per_token=(0.1, 0.01))
    assert "step time" not in words(step_time_s=(None, 0.0))


def test_nothing_is_said_to_be_sub_linear_that_is_not():
    assert words().count("sub-linearly") == 1
    assert "peak memory and the training state grow in proportion to the parameters, not sub-linearly" in words()
    assert "Nor does" not in words(peak_memory_bytes=(1.1, 0.2))


@pytest.mark.parametrize(("added", "text"), [(14.0, "took 14.0 bytes at the peak, where"), (2.0, None)])
def test_memory_that_hardly_grows_is_told_from_memory_with_a_large_constant(added: float, text: str | None):
    """The exponent is the same; what a further parameter adds is not."""
    scaling = [made_up(cost, 1.0 if cost == "training_state_bytes" else 0.3) for cost in SCALING_COSTS]
    peak = SCALING_COSTS.index("peak_memory_bytes")
    scaling[peak] = replace(scaling[peak], per_added_param=added)
    built = scaling_table(scaling)
    assert built is not None
    (said,) = built.notes
    if text is None:
        assert "FLOPs per token, step time and peak memory grow sub-linearly" in said
        assert "bytes at the peak" not in said
    else:
        assert "FLOPs per token and step time grow sub-linearly" in said
        assert text in said
        assert "although its exponent is 0.30" in said


def test_an_end_just_below_zero_has_no_minus():
    built = scaling_table([made_up(cost, 0.048, half_width=0.05) for cost in SCALING_COSTS])
    assert built is not None
    assert built.rows[0].cells[-1].text == "0.05 [0.00, 0.10]"


def test_a_sweep_without_three_sizes_has_no_table_and_says_what_is_missing(tmp_path: Path):
    write_study(tmp_path, [Study(make_spec(), NLLS, is_twin=True), Study(make_spec(num_experts=4), NLLS)])
    (sweep,) = build_report(tmp_path).sweeps
    assert "scaling" not in [table.key for table in sweep.tables]
    assert any("that takes three sizes of a dense model" in note for note in sweep.notes)


def test_a_group_without_three_sizes_says_so_beside_one_with_them(tmp_path: Path):
    studies = [Study(make_spec(num_experts=experts), NLLS) for experts in (2, 8, 32)]
    write_study(tmp_path, [Study(make_spec(), NLLS, is_twin=True), *studies])
    (sweep,) = build_report(tmp_path).sweeps
    dense, sparse = table(sweep).rows
    assert [cell.text for cell in dense.cells[1:]] == ["0", "–", "–", "–", "–", "–", "–"]
    assert all("FEW_POINTS" in cell.caveats for cell in dense.cells[-4:])
    assert sparse.cells[1].text == "3"
    assert "all sparse models" not in how_to_read(sweep.scaling)


def test_for_programs(tmp_path: Path):
    report = write_ladder(tmp_path)
    document = json.loads(report_json(build_report(tmp_path)))
    (entry,) = document["sweeps"]
    assert [list(each) for each in entry["scaling"]] == [
        ["group", "cost", "exponent", "ci95", "per_added_param", "configurations", "n_min", "n_max", "caveats"]
    ] * 15
    for each, scaling in zip(entry["scaling"], report.scaling, strict=True):
        assert (each["exponent"], each["group"], each["cost"]) == (scaling.exponent, scaling.group, scaling.cost)
        assert each["exponent"] is not None
    shown = next(table for table in entry["tables"] if table["key"] == "scaling")
    assert shown["notes"] == list(table(report).notes)
    assert [row["config_id"] for row in shown["rows"]] == [None] * 3


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_is_said_stands_under_the_table(tmp_path: Path, width: int):
    write_ladder(tmp_path)
    output = io.StringIO()
    render_report(build_report(tmp_path), console=Console(file=output, width=width))
    drawn = " ".join(output.getvalue().split())
    assert drawn.index("How cost grows") < drawn.index("With more experts at the same shape FLOPs")
    assert max(map(len, output.getvalue().splitlines())) <= width
