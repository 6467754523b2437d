"""The tables for papers: every number of the terminal's tables in every format, whatever the names."""

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from switchbench.report import Report, build_report
from switchbench.report.elements import Cell, Column, Row, Table, place_footnotes
from switchbench.report.papers import PAPER_FORMATS, paper_text, write_papers
from switchbench.report.papers.csv_cells import CSV_COLUMNS, csv_table
from switchbench.report.papers.latex import LINE_CHARACTERS, PAGE_ROWS, latex_table
from switchbench.report.papers.markdown import escape_markdown, markdown_table
from tests.factories import Study, make_spec, write_study
from tests.report.page.made_up import HOSTILE, LONG, write_eventful, write_plain, write_single

PDFLATEX = shutil.which("pdflatex")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Report:
    root = tmp_path_factory.mktemp("plain")
    write_plain(root)
    return build_report(root)


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Report:
    root = tmp_path_factory.mktemp("eventful")
    write_eventful(root)
    write_single(root, name=LONG)
    return build_report(root)


def made_up(*, rows: int = 2, columns: int = 2, text: str = "1.5") -> Table:
    return Table(
        key="made_up",
        title="Made up",
        columns=(
            Column(key="model", header="model", is_label=True),
            *(Column(key=f"n{i}", header=f"number\n{i}", unit="s") for i in range(columns)),
        ),
        rows=tuple(
            Row(
                config_id=f"{number:012x}",
                cells=(Cell(text=f"model {number}", value=f"model {number}"), *[Cell(text=text, value=1.5)] * columns),
            )
            for number in range(rows)
        ),
        notes=("- how to read it",),
    )


def rows_of_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def pipe_rows(text: str) -> list[list[str]]:
    """The cells of all lines of a Markdown table but the rule, split at pipes that are not escaped."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| :---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_csv_has_every_cell_with_its_doubts(plain: Report):
    (sweep,) = plain.sweeps
    lines = rows_of_csv(paper_text(plain, format_="csv"))
    cells = [
        (table, column, row, cell)
        for table in sweep.tables
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]
    assert len(lines) == len(cells)
    for line, (table, column, row, cell) in zip(lines, cells, strict=True):
        assert tuple(line) == CSV_COLUMNS
        assert (line["sweep"], line["table"], line["column"]) == (sweep.name, table.key, column.key)
        assert line["config_id"] == (row.config_id or "")
        assert line["unit"] == (column.unit or "")
        assert line["text"] == cell.text
        assert line["caveats"].split() == list(cell.caveats)
        if isinstance(cell.value, (int, float)):
            assert float(line["value"]) == cell.value  # to the last bit
        assert (line["ci95_low"] != "") == (cell.ci95 is not None)
        if cell.ci95 is not None:
            assert (float(line["ci95_low"]), float(line["ci95_high"])) == cell.ci95
        if cell.spread is not None:
            assert float(line["spread"]) == cell.spread
        assert line["bound"] == (cell.bound or "")
    assert any(line["ci95_low"] for line in lines)
    assert any(line["spread"] for line in lines)
    assert "model Switch xxs, experts 16, capacity factor 2" in {line["label"] for line in lines}


def test_csv_keeps_names_as_they_are():
    table = made_up(text='a "quoted", name\nof two lines')
    assert rows_of_csv(",".join(CSV_COLUMNS) + "\n" + csv_table(table, sweep=HOSTILE))[1]["sweep"] == HOSTILE
    assert '"a ""quoted"", name' in csv_table(table, sweep="x")


def test_markdown_has_the_cells_and_the_footnotes_of_every_table(plain: Report):
    for table in plain.sweeps[0].tables:
        text = markdown_table(table)
        header, *rows = pipe_rows(text)
        placed = place_footnotes(table)
        assert len(header) == len(table.columns)
        for drawn, row, letters in zip(rows, table.rows, placed.cells, strict=True):
            expected = [
                escape_markdown(cell.text) + (f"<sup>{marks}</sup>" if marks else "")
                for cell, marks in zip(row.cells, letters, strict=True)
            ]
            assert drawn == expected
        for letter, sentence in placed.sentences.items():
            assert f"<sup>{letter}</sup> {escape_markdown(sentence)}" in text


@pytest.mark.parametrize("name", [HOSTILE, "a|b", "[a](javascript:b)", "*a* _b_ `c` ~~d~~ $e$", "# a", "a\n\n# b"])
def test_markdown_names_are_text(name: str):
    table = made_up(text=name)
    rows = pipe_rows(markdown_table(table))
    assert {len(row) for row in rows} == {3}
    drawn = rows[1][1]
    assert "<script" not in drawn
    assert "](" not in drawn
    assert not re.search(r"(?<!\\)[*_`~$]", drawn)
    shown = re.sub(r"\\(.)", r"\1", drawn).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert shown == " ".join(name.split())


def test_markdown_paragraphs_stay_paragraphs():
    assert "\n\n\\- how to read it" in markdown_table(made_up())


def test_latex_breaks_wide_tables_and_continues_long_ones():
    text = latex_table(made_up(rows=PAGE_ROWS + 1, columns=20, text="1" * 10), sweep="x")
    bodies = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, flags=re.DOTALL)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") > 1
    assert text.count(" (continued)}") == text.count(r"\begin{table}") - 1
    assert text.count(r"\label{tab:x:made-up}") == 1
    cells = [line.strip().removesuffix(r" \\").split(" & ") for body in bodies for line in body.strip().splitlines()]
    assert all(sum(map(len, row)) <= LINE_CHARACTERS for row in cells)
    assert sum(len(row) - 1 for row in cells) == 20 * (PAGE_ROWS + 1)
    assert [row[0] for row in cells if row[0] == f"model {PAGE_ROWS}"]
    assert text.count(r"\begin{minipage}") == 1


def test_latex_minus_signs_and_brackets_at_the_start_of_a_cell():
    text = latex_table(made_up(text="-1.5 [±0.2]"), sweep="x")
    assert r"\ensuremath{-}1.5 [\ensuremath{\pm}0.2]" in text
    assert "{}[1, 2]" in latex_table(made_up(text="[1, 2]"), sweep="x")


@pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed: LaTeX's tables are not compiled")
def test_latex_compiles_with_booktabs_alone(tmp_path: Path, plain: Report, eventful: Report):
    study = [Study(make_spec(), {0: [1.7]}, settings={"data.corpus": "".join(map(chr, range(0x20, 0x3000, 3)))})]
    study += [Study(make_spec(num_experts=e), {0: [1.7]}, settings={"data.corpus": HOSTILE}) for e in range(2, 60)]
    write_study(tmp_path / "results", study, name="many")
    bodies = [paper_text(each, format_="latex") for each in (plain, eventful, build_report(tmp_path / "results"))]
    letters = [*range(0x20, 0x7F), *range(0xA0, 0x500), *range(0x2000, 0x2300)]
    for start in range(0, len(letters), 200):
        hard = "".join(map(chr, letters[start : start + 200]))
        bodies.append(latex_table(made_up(text=hard), sweep=hard))
    document = "\n".join(
        [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", *bodies, r"\end{document}"]
    )
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
    assert "multiply defined" not in log


def test_a_file_per_sweep_and_table(tmp_path: Path, plain: Report, eventful: Report):
    for format_ in PAPER_FORMATS:
        files = write_papers(plain, format_=format_, output=tmp_path / format_)
        assert [path.stem for path in files] == [table.key for table in plain.sweeps[0].tables]
        assert all(path.read_text(encoding="utf-8").strip() for path in files)
        several = write_papers(eventful, format_=format_, output=tmp_path / "several" / format_)
        assert {path.parent.name for path in several} == {sweep.folder.path.name for sweep in eventful.sweeps}
        assert len(set(several)) == sum(len(sweep.tables) for sweep in eventful.sweeps)


def test_what_is_printed_is_what_the_files_hold(tmp_path: Path, plain: Report):
    text = paper_text(plain, format_="latex")
    files = write_papers(plain, format_="latex", output=tmp_path)
    for path in files:
        assert path.read_text(encoding="utf-8").partition("\n")[2] in text
    text = paper_text(plain, format_="csv")
    files = write_papers(plain, format_="csv", output=tmp_path)
    assert sum(len(rows_of_csv(path.read_text(encoding="utf-8"))) for path in files) == len(rows_of_csv(text))
