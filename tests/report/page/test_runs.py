from pathlib import Path

from switchbench.record import RunRecord
from switchbench.report import build_report
from switchbench.report.page.runs import SETTINGS, failures_of, runs_table, shared_settings
from switchbench.spec import RunSpec
from switchbench.store import read_manifest
from tests.factories import Study, make_spec, write_study
from tests.report.page.made_up import CLOSING, write_eventful, write_plain


def test_every_run_of_the_manifest_is_there_missing_ones_too(tmp_path: Path) -> None:
    folder = write_eventful(tmp_path)
    (sweep,) = build_report(tmp_path).sweeps
    table = runs_table(sweep)
    keys = [column.key for column in table.columns]
    status = {row.cells[keys.index("run_id")].text: row.cells[keys.index("status")].text for row in table.rows}
    assert list(status) == [cell.run_id for cell in read_manifest(folder).cells]
    assert sorted(status.values()) == sorted(["ok"] * 4 + ["missing"] * 2 + ["crashed", "diverged", "oom"])


def test_each_setting_is_either_shared_or_a_column(tmp_path: Path) -> None:
    """The slow, obvious twin: compare the records themselves."""
    write_plain(tmp_path)
    (sweep,) = build_report(tmp_path).sweeps
    shared = {setting.name: setting.text for setting in shared_settings(sweep)}
    columns = {column.key.removeprefix("setting-") for column in runs_table(sweep).columns}
    for name in SETTINGS:
        values = {getattr(run, name) for run in sweep.runs} - {None}
        assert (name in shared) == (len(values) == 1), name
        assert (name in columns) == (len(values) > 1), name
    assert shared["d_model"] == "32"
    assert {"num_experts", "capacity_factor"} <= columns
    assert all(setting.meaning for setting in shared_settings(sweep))


def test_the_settings_are_all_fields_of_the_specification() -> None:
    assert set(SETTINGS) < set(RunRecord.model_fields)
    assert {"corpus", "d_model", "router", "learning_rate", "beta2"} <= set(SETTINGS)
    assert not {"seed", "step", "nll", "params_total"} & set(SETTINGS)


def test_a_configuration_of_which_nothing_is_there_has_its_settings(tmp_path: Path) -> None:
    absent = make_spec(num_experts=8)
    write_study(
        tmp_path,
        [Study(make_spec(), {0: [1.7]}), Study(absent, {0: None}, settings={"model.ffn.num_experts": 8})],
    )
    (sweep,) = build_report(tmp_path).sweeps
    table = runs_table(sweep)
    cells = dict(zip([column.key for column in table.columns], table.rows[1].cells, strict=True))
    assert cells["configuration"].text == "num experts 8"
    assert cells["status"].text == "missing"
    assert cells["nll"].value is None
    assert cells["setting-num_experts"].value == 8
    assert isinstance(RunSpec.model_validate(sweep.configurations[1].spec), RunSpec)


def test_failures_come_with_the_end_of_their_log(tmp_path: Path) -> None:
    write_eventful(tmp_path)
    (sweep,) = build_report(tmp_path).sweeps
    failures = {failure.problem.status: failure for failure in failures_of(sweep)}
    assert set(failures) == {"crashed", "diverged", "oom"}
    assert failures["diverged"].log is None
    log = failures["crashed"].log
    assert log is not None
    assert log.endswith(f"RuntimeError: {CLOSING}\nthe last line")
    assert len(log.splitlines()) == 30
