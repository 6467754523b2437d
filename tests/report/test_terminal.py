import io
from pathlib import Path

import pytest
from factories import Study, make_spec, write_study
from rich.cells import cell_len
from rich.console import Console

from switchbench.report import Report, build_report, render_report

DENSE = make_spec()
SPARSE = [make_spec(num_experts=experts, capacity_factor=factor) for experts in (4, 16) for factor in (1.0, 2.0)]
LONG_NAME = "größe [bold]und[bold] " + "x" * 180


def draw(report: Report, *, width: int, **options: object) -> str:
    output = io.StringIO()
    render_report(report, console=Console(file=output, width=width, **options))
    return output.getvalue()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    root = tmp_path_factory.mktemp("results")
    outcomes = {
        SPARSE[0]: {0: [2.2, 2.0, 1.9], 1: [2.2, 2.0, 1.91]},
        SPARSE[1]: {0: [1.9, 1.7, 1.62], 1: "diverged"},
        SPARSE[2]: {0: [1.9, 1.7, 1.61], 1: [1.9, 1.7, 1.62]},
        SPARSE[3]: {0: [1.6, 1.5, 1.4], 1: "killed", 2: None},
    }
    dense = Study(DENSE, {0: [2.0, 1.8, 1.7], 1: [2.0, 1.8, 1.72]}, is_twin=True)
    write_study(root, [dense, *(Study(spec, seeds, step_time_s=75.0) for spec, seeds in outcomes.items())])
    return build_report(root)


@pytest.mark.parametrize("width", [12, 24, 40, 60, 80, 100, 120, 160, 250])
def test_nothing_is_cut_short_at_any_width(report: Report, width: int):
    """Every text of every cell is there in full, and no line but those to be copied is wider than the terminal."""
    drawn = draw(report, width=width)
    assert "…" not in drawn
    squeezed = "".join(drawn.split())
    for table in report.sweeps[0].tables:
        assert table.title.replace(" ", "") in squeezed
        for row in table.rows:
            for cell in row.cells:
                assert "".join(cell.text.split()) in squeezed
    for line in drawn.splitlines():
        if not line.startswith(("  log: ", "  switchbench ")):
            assert cell_len(line) <= width, line


def test_a_wide_terminal_has_each_table_in_one_piece_and_a_narrow_one_repeats_the_labels(report: Report):
    rows = [line for line in draw(report, width=250).splitlines() if line.startswith("Switch xxs ")]
    assert len(rows) == sum(row.cells[0].text == "Switch xxs" for t in report.sweeps[0].tables for row in t.rows)
    assert len(rows) >= 4 * 4
    narrow = [line for line in draw(report, width=80).splitlines() if line.startswith("Switch xxs ")]
    assert len(narrow) > len(rows)
    stacked = [line for line in draw(report, width=30).splitlines() if line.startswith("Switch xxs,")]
    assert len(stacked) == len(rows)


def test_numbers_are_aligned_on_the_right_with_their_footnotes_behind(report: Report):
    lines = draw(report, width=250).splitlines()
    start = lines.index("Head to head")
    header, *rows = (line for line in lines[start + 2 : start + 9] if not line.startswith("─"))
    end = header.index("perplexity  perplexity") + len("perplexity")
    assert all(row[end - 1] in "0123456789" and row[end : end + 2].strip() == "" for row in rows)
    assert sum("not reached" in row for row in rows) == 1


def test_footnotes_stand_under_their_table(report: Report):
    lines = draw(report, width=250).splitlines()
    tables = [i for i, line in enumerate(lines) if line in ("Head to head", "Cost", "What capacity buys")]
    head_to_head = lines[tables[0] : tables[1]]
    notes = [line for line in head_to_head if line[:2] in {"ᵃ ", "ᵇ ", "ᶜ ", "ᵈ ", "ᵉ ", "ᶠ "}]
    assert len({note[0] for note in notes}) == len(notes) >= 4
    for note in notes:
        assert any(note[0] in line for line in head_to_head if line != note)
    assert sum("The target quality was not reached" in line for line in head_to_head) == 1


def test_failed_runs_and_the_command_to_complete_the_sweep(report: Report):
    drawn = draw(report, width=80)
    assert "4 experts, capacity factor 2, seed 1: diverged: " in drawn
    assert "16 experts, capacity factor 2, seed 1: killed: the worker was killed by signal 9" in drawn.replace(
        "\n", " "
    )
    assert f"  log: {report.sweeps[0].problems[0].log_path}\n" in draw(report, width=30)
    assert "\n  switchbench sweep experiments/capacity.yaml\n" in draw(report, width=30)
    assert "Of 11 runs 1 is missing and 1 failed. To complete the sweep:\n  switchbench sweep" in drawn


def test_a_run_that_is_not_tried_again_needs_no_command(tmp_path: Path):
    write_study(tmp_path, [Study(DENSE, {0: [2.0, 1.8, 1.7], 1: "oom"})])
    drawn = draw(build_report(tmp_path), width=80)
    assert "Of 2 runs 1 failed.\n" in drawn
    assert "switchbench sweep" not in drawn


def test_colors_are_left_out_where_they_are_not_wanted(report: Report, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1m" in draw(report, width=120, force_terminal=True, color_system="standard")
    plain = draw(report, width=120)
    assert "\x1b[" not in plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert not {"\x1b[3", "\x1b[38"} & {part[:4] for part in draw(report, width=120, force_terminal=True).split("m")}


def test_an_ascii_terminal_gets_ascii(report: Report):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    render_report(report, console=Console(file=output, width=100))
    output.flush()
    drawn = output.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "-1.710 +- 0.014" in drawn
    assert "[a]" in drawn


def test_names_are_printed_as_they_are(tmp_path: Path):
    write_study(tmp_path, [Study(DENSE, {0: [1.7]})], name=LONG_NAME)
    write_study(tmp_path, [Study(DENSE, {0: [1.7]})], name="[red]")
    drawn = draw(build_report(tmp_path), width=80)
    assert "größe [bold]und[bold]" in drawn
    assert "[red]\n" in drawn
