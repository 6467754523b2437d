from pathlib import Path

from factories import Study, make_spec, write_study

from switchbench.report import SweepReport, Table, build_report

FOUR, SIXTEEN = make_spec(num_experts=4), make_spec(num_experts=16)
DENSE, WIDER = make_spec(), make_spec(ffn={"d_ff": 300})
LARGER, LARGEST = make_spec(size="xs"), make_spec(size="s")
NAMES = {
    spec.config_id: name
    for name, spec in {
        "4": FOUR, "16": SIXTEEN, "dense": DENSE, "wider": WIDER, "larger": LARGER, "largest": LARGEST,
    }.items()
}  # fmt: skip
GOOD = {0: [2.0, 1.8, 1.70], 1: [2.0, 1.8, 1.72]}
BETTER = {0: [1.9, 1.7, 1.62], 1: [1.9, 1.7, 1.65]}
BEST = {0: [1.8, 1.6, 1.50], 1: [1.8, 1.6, 1.51]}


def report_of(tmp_path: Path, *studies: Study) -> SweepReport:
    write_study(tmp_path, studies)
    (sweep,) = build_report(tmp_path).sweeps
    return sweep


def table(sweep: SweepReport, key: str) -> Table:
    return next(table for table in sweep.tables if table.key == key)


def texts(shown: Table, *columns: str) -> list[list[str]]:
    """The name of each row and the texts of some of its columns; an empty list before each group but the first."""
    keys = [column.key for column in shown.columns]
    lines: list[list[str]] = []
    for row in shown.rows:
        if row.starts_group and lines:
            lines.append([])
        assert row.config_id is not None
        lines.append([NAMES[row.config_id], *(row.cells[keys.index(column)].text for column in columns)])
    return lines


def all_kinds() -> list[Study]:
    """Dense twins of three kinds, in the order in which they would be trained."""
    return [
        Study(FOUR, BETTER),
        Study(LARGER, BEST, twins={"iso_total_params": [FOUR]}, step_time_s=0.05),
        Study(SIXTEEN, BETTER),
        Study(WIDER, GOOD, twins={"iso_active_params": [SIXTEEN]}, step_time_s=0.025),
        Study(DENSE, GOOD, twins={"iso_active_params": [FOUR], "iso_flop": [FOUR, SIXTEEN]}),
        Study(LARGEST, BEST, twins={"iso_total_params": [SIXTEEN]}, step_time_s=0.1),
    ]


def test_pairs_stand_together_by_what_they_are_matched_on(tmp_path: Path):
    """A sparse configuration stands below each of its twins; a twin of both kinds says of each pair what it is."""
    sweep = report_of(tmp_path, *all_kinds())
    assert texts(table(sweep, "head_to_head"), "matched_on", "time_speedup") == [
        ["dense", "FLOPs", "1x"],
        ["4", "FLOPs, active", speedup(sweep, "4", "iso_flop+iso_active_params")],
        ["16", "FLOPs", speedup(sweep, "16", "iso_flop")],
        [],
        ["wider", "active params", "1x"],
        ["16", "active params", speedup(sweep, "16", "iso_active_params")],
        [],
        ["larger", "total params", "1x"],
        ["4", "total params", "not reached"],
        [],
        ["largest", "total params", "1x"],
        ["16", "total params", "not reached"],
    ]


def speedup(sweep: SweepReport, sparse: str, matched_on: str) -> str:
    """A time speed-up as the table should have it, from the comparisons."""
    (found,) = (
        comparison
        for comparison in sweep.comparisons
        if (NAMES[comparison.sparse], comparison.matched_on, comparison.measure) == (sparse, matched_on, "time_speedup")
    )
    assert found.value is not None
    assert found.ci95 is not None
    return f"{found.value:#.3g}x [{found.ci95[0]:#.3g}, {found.ci95[1]:#.3g}]"


def test_a_dense_twin_of_both_kinds_says_both_where_all_its_pairs_do(tmp_path: Path):
    both = {"iso_flop": [FOUR, SIXTEEN], "iso_active_params": [FOUR, SIXTEEN]}
    sweep = report_of(tmp_path, Study(FOUR, BETTER), Study(SIXTEEN, BETTER), Study(DENSE, GOOD, twins=both))
    shown = table(sweep, "head_to_head")
    assert texts(shown, "matched_on") == [[name, "FLOPs, active"] for name in ("dense", "4", "16")]
    values = {row.cells[[column.key for column in shown.columns].index("matched_on")].value for row in shown.rows}
    assert values == {"iso_flop+iso_active_params"}


def test_where_all_twins_are_of_equal_flops_no_table_has_to_say_so(tmp_path: Path):
    sweep = report_of(tmp_path, Study(FOUR, BETTER), Study(DENSE, GOOD, twins={"iso_flop": [FOUR]}))
    assert all(column.key != "matched_on" for shown in sweep.tables for column in shown.columns)
    assert texts(table(sweep, "head_to_head"), "step_speedup")[0] == ["dense", "1x"]


def test_costs_show_each_model_once_and_what_it_is_the_twin_of(tmp_path: Path):
    """Sparse ones stand below the first of their twins; twins that have them all placed elsewhere stand together."""
    sweep = report_of(tmp_path, *all_kinds())
    assert texts(table(sweep, "cost"), "matched_on") == [
        ["dense", "FLOPs, active"],
        ["4", "–"],
        ["16", "–"],
        [],
        ["wider", "active params"],
        ["larger", "total params"],
        ["largest", "total params"],
    ]
    assert all(column.key != "matched_on" for column in table(sweep, "capacity").columns)


def test_a_pair_whose_twin_has_no_runs_yet_is_there_and_empty(tmp_path: Path):
    studies = [Study(FOUR, BETTER), Study(DENSE, GOOD, twins={"iso_flop": [FOUR]})]
    sweep = report_of(tmp_path, *studies, Study(LARGER, {0: None, 1: "crashed"}, twins={"iso_total_params": [FOUR]}))
    shown = table(sweep, "head_to_head")
    assert texts(shown, "matched_on", "delta_nll")[-2:] == [[], ["4", "total params", "–"]]
    assert "MISSING_RUNS" in shown.rows[-1].cells[[column.key for column in shown.columns].index("delta_nll")].caveats
    assert len(shown.rows) == 3


def test_dense_models_that_are_no_twins_keep_their_place(tmp_path: Path):
    studies = [Study(WIDER, GOOD), Study(FOUR, BETTER), Study(SIXTEEN, BETTER)]
    sweep = report_of(tmp_path, *studies, Study(LARGER, BEST, twins={"iso_total_params": [FOUR]}))
    assert texts(table(sweep, "head_to_head"), "matched_on") == [
        ["wider", "–"], [], ["larger", "total params"], ["4", "total params"], [], ["16", "–"],
    ]  # fmt: skip


def test_what_a_step_may_cost_stands_beside_what_it_costs(tmp_path: Path):
    sweep = report_of(tmp_path, *all_kinds())
    shown = table(sweep, "break_even")
    ratios = [["4", "1.00x"], ["16", "1.00x"], [], ["16", "0.800x"], [], ["4", "0.400x"], [], ["16", "0.200x"]]
    found = texts(shown, "step_time_ratio")
    assert [[cell.partition(" [")[0] for cell in line] for line in found] == ratios
    break_even, speedups = (
        [line[1:] for line in texts(table(sweep, key), column) if line[1:] not in ([], ["1x"])]
        for key, column in (("break_even", "break_even_step_time_ratio"), ("head_to_head", "step_speedup"))
    )
    assert break_even == speedups
    assert ["not reached"] in break_even
    assert all(cell.value is None or cell.value > 0 for row in shown.rows for cell in row.cells[-4:])
    assert shown.notes


def test_without_pairs_nothing_is_said_of_what_a_step_may_cost(tmp_path: Path):
    sweep = report_of(tmp_path, Study(FOUR, BETTER), Study(DENSE, GOOD))
    keys = {shown.key for shown in sweep.tables}
    assert {"head_to_head", "cost"} <= keys
    assert keys.isdisjoint({"verdicts", "break_even"})
