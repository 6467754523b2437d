from pathlib import Path

from switchbench.caveats import footnote_of
from switchbench.report import build_report
from switchbench.report.page.verdict import view_verdict
from tests.factories import Study, make_spec, write_study
from tests.report.page.made_up import write_eventful, write_plain, write_single


def test_nothing_of_the_summary_is_lost(tmp_path: Path) -> None:
    for number, write in enumerate((write_plain, write_eventful, write_single)):
        write(tmp_path / str(number))
        (sweep,) = build_report(tmp_path / str(number)).sweeps
        view = view_verdict(sweep)
        told = " ".join([f"{view.answer}{view.sentence}", *view.remarks])
        assert told.lower() == sweep.summary.removeprefix("Verdict: ").lower()
        assert "\n" not in view.sentence


def test_the_answer_has_its_side_and_its_doubts(tmp_path: Path) -> None:
    dense = {seed: [2.0, 1.700 + seed / 1000] for seed in range(4)}
    sparse = {seed: [1.9, 1.600 + seed / 1000] for seed in range(4)}
    write_study(tmp_path, [Study(make_spec(), dense, is_twin=True), Study(make_spec(num_experts=4), sparse)])
    (sweep,) = build_report(tmp_path).sweeps
    view = view_verdict(sweep)
    assert view.side == sweep.verdict.verdict == "sparse"
    assert view.answer == "Sparse, at 95% confidence"
    assert view.sentence.startswith(": at equal useful FLOPs per token ")
    assert footnote_of("CPU_TIMING") in [note.sentence for note in view.footnotes]
    assert [mark.note_id for mark in view.marks] == [note.id for note in view.footnotes]
    assert [(mark.id,) for mark in view.marks] == [note.back_ids for note in view.footnotes]


def test_where_nothing_is_compared_there_is_no_side(tmp_path: Path) -> None:
    write_single(tmp_path)
    (sweep,) = build_report(tmp_path).sweeps
    view = view_verdict(sweep)
    assert (view.side, view.answer, view.footnotes) == ("", "", ())
    assert view.sentence.startswith("No verdict: there are only dense configurations")
