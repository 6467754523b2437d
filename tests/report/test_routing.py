import statistics
from pathlib import Path

import pytest

from switchbench.report import build_report
from switchbench.report.elements import Table
from tests.factories import Study, make_spec, write_study


def routing_of(root: Path) -> Table | None:
    (sweep,) = build_report(root).sweeps
    return next((table for table in sweep.tables if table.key == "routing"), None)


def test_each_sparse_configuration_has_a_row_with_the_means_of_its_runs(tmp_path: Path) -> None:
    nlls = {0: [1.7], 1: [1.72]}
    few = make_spec(num_experts=4)
    studies = [
        Study(make_spec(), nlls, is_twin=True),
        Study(few, nlls, columns={"dead_expert_fraction": 0.25, "expert_load_cv_pooled": 0.5}),
        Study(make_spec(num_experts=16), nlls),
    ]
    write_study(tmp_path, studies)
    table = routing_of(tmp_path)
    assert table is not None
    (sweep,) = build_report(tmp_path).sweeps
    keys = [column.key for column in table.columns]
    ids = [configuration.config_id for configuration in sweep.configurations if configuration.role == "sparse"]
    assert [row.config_id for row in table.rows] == ids
    for row in table.rows:
        runs = [run for run in sweep.runs if run.config_id == row.config_id]
        for key, cell in zip(keys, row.cells, strict=True):
            values = [getattr(run, key, None) for run in runs]
            if key in ("model", "num_experts", "capacity_factor", "seeds") or None in values:
                continue
            assert cell.value == pytest.approx(statistics.fmean(values)), key
    cells = dict(zip(keys, table.rows[0].cells, strict=True))
    assert cells["dead_expert_fraction"].text == "25.0 ± 0.0%"
    assert cells["expert_load_cv_pooled"].text == "0.500 ± 0.000"
    assert table.rows[1].cells[keys.index("router_confidence")].text == "–"


def test_dense_models_route_nothing(tmp_path: Path) -> None:
    write_study(tmp_path, [Study(make_spec(), {0: [1.7]})])
    assert routing_of(tmp_path) is None


def test_runs_of_several_versions_are_marked(tmp_path: Path) -> None:
    studies = [
        Study(make_spec(num_experts=4), {0: [1.7]}),
        Study(make_spec(num_experts=8), {0: [1.7]}, columns={"commit": "another"}),
    ]
    write_study(tmp_path, studies)
    table = routing_of(tmp_path)
    assert table is not None
    entropy = [column.key for column in table.columns].index("router_entropy")
    assert all("MIXED_CODE" in row.cells[entropy].caveats for row in table.rows)
