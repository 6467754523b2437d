"""Tables as LaTeX floats that need no package but booktabs; footnotes and notes stand below the rules.

A table is broken where it is wider than a text of usual width, and continued in another float where it is longer than a
page: LaTeX itself does neither.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from switchbench.report.elements import SweepReport, Table, one_line, place_footnotes
from switchbench.report.papers.spelling import latex_label, spell_latex
from switchbench.report.splitting import split_columns

LINE_CHARACTERS = 84
"""What fits beside each other in the footnote size and a text of 345 points, the width of LaTeX's own article."""
PAGE_ROWS = 40
"""Rows of a float that leave room for its notes."""
_GAP = 2
_PREAMBLE = r"% \usepackage{booktabs} is all that these tables need."


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """The texts of a table as LaTeX has them."""

    headers: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[str, ...], ...]
    starts_group: tuple[bool, ...]
    alignments: tuple[str, ...]


def latex_sweep(sweep: SweepReport) -> str:
    """Write all tables of a sweep.

    Args:
        sweep: The report of the sweep.
    """
    return "\n".join(latex_table(table, sweep=sweep.name) for table in sweep.tables)


def latex_preamble() -> str:
    """Say what the tables need, as a comment."""
    return _PREAMBLE + "\n"


def latex_table(table: Table, *, sweep: str) -> str:
    """Write a table as one float or, where it takes more than a page, as several.

    Args:
        table: The table.
        sweep: Name of its sweep, for the label and the caption.
    """
    grid = _lay_out(table)
    floats = _share_out(table, num_rows=len(table.rows))
    title = f"{spell_latex(sweep)}: {spell_latex(table.title)}"
    texts = []
    for number, parts in enumerate(floats):
        lines = [r"\begin{table}[htbp]", r"  \centering\footnotesize\setlength{\tabcolsep}{4pt}"]
        lines.append(rf"  \caption{{{title}{' (continued)' if number else ''}}}")
        if not number:
            lines.append(rf"  \label{{tab:{latex_label(sweep, table.key)}}}")
        for i, (columns, rows) in enumerate(parts):
            lines += [r"  \par\medskip"] if i else []
            lines += _tabular(grid, columns=columns, rows=rows)
        if number == len(floats) - 1:
            lines += _notes(table)
        texts.append("\n".join([*lines, r"\end{table}", ""]))
    return "\n".join(texts)


def _lay_out(table: Table) -> _Grid:
    footnotes = place_footnotes(table)
    headers = tuple(
        (*map(spell_latex, lines[:-1]), spell_latex(lines[-1]) + _marks(letters))
        for column, letters in zip(table.columns, footnotes.headers, strict=True)
        for lines in [column.header.split("\n")]
    )
    rows = tuple(
        tuple(_number(cell.text) + _marks(letters) for cell, letters in zip(row.cells, letters_of, strict=True))
        for row, letters_of in zip(table.rows, footnotes.cells, strict=True)
    )
    return _Grid(
        headers=headers,
        rows=rows,
        starts_group=tuple(row.starts_group for row in table.rows),
        alignments=tuple("l" if i == 0 else "r" for i in range(len(table.columns))),
    )


def _share_out(table: Table, *, num_rows: int) -> list[list[tuple[list[int], range]]]:
    """Share out blocks of columns and rows over floats: as many of each as fit on a page."""
    footnotes = place_footnotes(table)
    widths = [
        max(
            max(map(len, column.header.split("\n"))) + len(footnotes.headers[i]),
            *(len(row.cells[i].text) + len(footnotes.cells[number][i]) for number, row in enumerate(table.rows)),
            0,
        )
        for i, column in enumerate(table.columns)
    ]
    num_labels = sum(column.is_label for column in table.columns)
    blocks = split_columns(widths, num_labels=num_labels, available=LINE_CHARACTERS, gap=_GAP)
    if blocks is None:  # names longer than a line: the columns stay together, and stick out
        blocks = [list(range(len(table.columns)))]
    pieces = [
        (block, range(start, min(start + PAGE_ROWS, num_rows)))
        for start in range(0, max(num_rows, 1), PAGE_ROWS)
        for block in blocks
    ]
    floats: list[list[tuple[list[int], range]]] = []
    room = 0
    for columns, rows in pieces:
        if len(rows) > room or not floats:
            floats.append([])
            room = PAGE_ROWS
        floats[-1].append((columns, rows))
        room -= len(rows)
    return floats


def _tabular(grid: _Grid, *, columns: Sequence[int], rows: range) -> list[str]:
    lines = [rf"  \begin{{tabular}}{{@{{}}{''.join(grid.alignments[i] for i in columns)}@{{}}}}", r"    \toprule"]
    headers = [_stack(grid.headers[i], alignment=grid.alignments[i]) for i in columns]
    lines += [f"    {' & '.join(headers)} \\\\", r"    \midrule"]
    for row in rows:
        if grid.starts_group[row] and row != rows.start:
            lines.append(r"    \addlinespace")
        lines.append(f"    {' & '.join(_guarded(grid.rows[row][i]) for i in columns)} \\\\")
    return [*lines, r"    \bottomrule", r"  \end{tabular}"]


def _stack(lines: Sequence[str], *, alignment: str) -> str:
    if len(lines) == 1:
        return lines[0]
    stacked = r"\\".join(map(_guarded, lines))
    return rf"\shortstack[{alignment}]{{{stacked}}}"


def _number(text: str) -> str:
    """Write a cell, with minus signs for the hyphens before numbers."""
    return re.sub(r"(?<![\w.-])-(?=\d)", r"\\ensuremath{-}", spell_latex(text))


def _guarded(text: str) -> str:
    r"""Keep a bracket at the start of a cell from being taken for the option of the ``\\`` before it."""
    return "{}" + text if text.startswith(("[", "*")) else text


def _notes(table: Table) -> list[str]:
    footnotes = place_footnotes(table).sentences
    texts = [f"{_marks(letter)}~{spell_latex(sentence)}" for letter, sentence in footnotes.items()]
    texts += [spell_latex(one_line(note)) for note in table.notes]
    if not texts:
        return []
    lines = [r"  \par\smallskip", r"  \begin{minipage}{\linewidth}\footnotesize\raggedright"]
    return [*lines, *(rf"    {text}\par" for text in texts), r"  \end{minipage}"]


def _marks(letters: str) -> str:
    return rf"\textsuperscript{{{letters}}}" if letters else ""
