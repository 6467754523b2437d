"""Tables as Markdown with pipes, as GitHub and most notebooks draw it; footnotes stand below each table."""

import re

from switchbench.report.elements import Column, SweepReport, Table, one_line, place_footnotes

_SPECIAL = re.compile(r"[\\`*_~|$]|(?<=\])[(\[:]")
"""What would begin or end something else than text: code, emphasis, a cell, mathematics, a link."""
_AT_START = re.compile(r"^(\d*)([-+#=>.)])")
"""What would make a list, a heading or a quotation of a paragraph."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def markdown_sweep(sweep: SweepReport) -> str:
    """Write all tables of a sweep, headed by its name, its question and what it says.

    Args:
        sweep: The report of the sweep.
    """
    parts = [f"## {escape_markdown(sweep.name)}", *map(_paragraph, (sweep.question, sweep.summary))]
    parts += [markdown_table(table) for table in sweep.tables]
    parts += [_paragraph(note) for note in sweep.notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table) -> str:
    """Write a table with its title, its footnotes and its notes.

    Args:
        table: The table.
    """
    footnotes = place_footnotes(table)
    headers = [
        escape_markdown(one_line(column.header)) + _marks(letters)
        for column, letters in zip(table.columns, footnotes.headers, strict=True)
    ]
    lines = [_line(headers), _line([_rule(column) for column in table.columns])]
    for row, letters_of in zip(table.rows, footnotes.cells, strict=True):
        cells = zip(row.cells, letters_of, strict=True)
        lines.append(_line([escape_markdown(cell.text) + _marks(letters) for cell, letters in cells]))
    # Two spaces at the end break the line: one footnote a line, without the room of a paragraph.
    notes = [f"{_marks(letter)} {escape_markdown(text)}" for letter, text in footnotes.sentences.items()]
    parts = [f"### {escape_markdown(table.title)}", "\n".join(lines), "  \n".join(notes), *map(_paragraph, table.notes)]
    return "\n\n".join(part for part in parts if part)


def escape_markdown(text: str) -> str:
    """Write a text so that Markdown shows it as it is, in one line.

    >>> escape_markdown("a|b *c* <d> [e](f)")
    'a\\\\|b \\\\*c\\\\* &lt;d&gt; [e]\\\\(f)'
    """
    safe = _SPECIAL.sub(lambda found: f"\\{found[0]}", " ".join(text.split()))
    return "".join(_ENTITIES.get(character, character) for character in safe)


def _paragraph(text: str) -> str:
    return _AT_START.sub(r"\1\\\2", escape_markdown(text))


def _marks(letters: str) -> str:
    return f"<sup>{letters}</sup>" if letters else ""


def _rule(column: Column) -> str:
    return ":---" if column.is_label else "---:"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
