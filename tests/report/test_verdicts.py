from pathlib import Path

import pytest
from factories import Study, make_spec, write_study

from switchbench.report import SweepReport, Table, build_report
from switchbench.store import SweepFolder, read_manifest, write_manifest

DENSE, FOUR, EIGHT = make_spec(), make_spec(num_experts=4), make_spec(num_experts=8)
GOOD = {seed: [2.0, 1.8, 1.70 + 0.01 * seed] for seed in range(4)}
BETTER = {seed: [1.9, 1.7, 1.60 + 0.01 * seed + 0.004 * (-1) ** seed] for seed in range(4)}
SAME = {seed: [2.0, 1.8, 1.70 + 0.01 * seed + 0.004 * (-1) ** (seed // 2)] for seed in range(4)}


def report_of(tmp_path: Path, *studies: Study) -> SweepReport:
    write_study(tmp_path, studies)
    return build_report(tmp_path).sweeps[0]


def verdicts(sweep: SweepReport) -> Table | None:
    return next((table for table in sweep.tables if table.key == "verdicts"), None)


def column(table: Table, key: str) -> list[str]:
    index = [each.key for each in table.columns].index(key)
    return [row.cells[index].text for row in table.rows]


def test_a_row_per_pair_says_who_wins_and_what_could_have_been_told(tmp_path: Path):
    sweep = report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(FOUR, BETTER), Study(EIGHT, SAME))
    table = verdicts(sweep)
    assert table is not None
    assert table is sweep.tables[0]
    assert column(table, "verdict") == ["sparse", "equivalent"]
    differences = [each for each in sweep.comparisons if each.measure == "delta_nll" and each.matched_on == "iso_flop"]
    low, high = differences[0].ci95 or (0, 0)
    assert column(table, "delta_nll")[0] == f"-0.100 [±{(high - low) / 2:.3f}]"
    assert column(table, "p_holm")[0] == "<0.001"
    assert float(column(table, "resolvable")[0]) == pytest.approx(differences[0].resolvable, abs=0.0005)
    assert column(table, "break_even_step_time_ratio")[0].count("x [") == 1
    assert column(table, "step_time_ratio")[0] == "1.00x [0.975, 1.03]"
    assert "matched_on" not in [each.key for each in table.columns]
    assert "corrected for the number of pairs (Holm)" in table.notes[0]
    assert sweep.summary.startswith("Verdict: sparse, at 95% confidence: at equal useful FLOPs per token the best")


def test_what_was_matched_stands_there_where_it_is_not_all_flops(tmp_path: Path):
    twins = {"iso_total_params": [FOUR]}
    table = verdicts(report_of(tmp_path, Study(DENSE, GOOD, twins=twins), Study(FOUR, BETTER)))
    assert table is not None
    assert column(table, "matched_on") == ["total params"]


def test_a_single_seed_gets_no_table(tmp_path: Path):
    sweep = report_of(tmp_path, Study(DENSE, {0: GOOD[0]}, is_twin=True), Study(FOUR, {0: BETTER[0]}))
    assert verdicts(sweep) is None
    assert sweep.summary.startswith("Verdict: unresolved: at equal")


def test_expert_choice_is_withheld(tmp_path: Path):
    choice = make_spec(num_experts=4, ffn={"router": "expert_choice"})
    sweep = report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(choice, BETTER), Study(FOUR, BETTER))
    table = verdicts(sweep)
    assert table is not None
    assert column(table, "verdict") == ["withheld", "sparse"]
    assert "NON_CAUSAL_ROUTING" in table.rows[0].cells[-4].caveats


def test_the_files_confidence_and_smallest_effect_hold(tmp_path: Path):
    report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(FOUR, BETTER))
    folder = SweepFolder(tmp_path / "capacity")
    chosen = {"confidence": 0.9, "min_effect": 0.1}
    write_manifest(folder, read_manifest(folder).model_copy(update=chosen))
    sweep = build_report(tmp_path).sweeps[0]
    table = verdicts(sweep)
    assert table is not None
    assert table.title == "Verdicts, at 90% confidence"
    assert column(table, "verdict") == ["equivalent"]
    assert sweep.summary.startswith("Verdict: equivalent, at 90% confidence: ")
    assert "10% of the dense nll takes" in sweep.summary
    difference = next(each for each in sweep.comparisons if each.measure == "delta_nll")
    low, high = difference.interval(0.9) or (0, 0)
    assert column(table, "delta_nll") == [f"-0.100 [±{(high - low) / 2:.3f}]"]


def test_noise_that_differs_is_said(tmp_path: Path):
    wild = {seed: [1.9, 1.7, 1.60 + 0.3 * (-1) ** seed] for seed in range(4)}
    others = [
        Study(
            make_spec(num_experts=experts),
            {seed: [2.0, 1.8, 1.7 + 0.01 * seed + 1e-4 * ((seed * experts) % 3)] for seed in GOOD},
        )
        for experts in range(2, 9)
    ]
    table = verdicts(
        report_of(tmp_path, Study(DENSE, GOOD, is_twin=True), Study(make_spec(num_experts=16), wild), *others)
    )
    assert table is not None
    assert (
        "as configurations differ in it (Bartlett p < 0.001), each has its own, drawn toward the others'"
        in table.notes[0]
    )
