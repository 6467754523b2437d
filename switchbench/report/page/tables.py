"""Tables as a page shows them: where each footnote is marked and linked, and by what each cell is sorted."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from switchbench.report.elements import Cell, Column, Row, Table, one_line, place_footnotes
from switchbench.units import UNKNOWN

_DOUBT = re.compile(r"(?<=\S)\s+(±.*|\[.*)$")
"""What follows a number: its spread or its interval, with the unit of both."""


_LONGEST_ROW = 150
"""Characters that a page of 1600 pixels has room for, side by side."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A footnote mark, which links to its footnote and can be linked back to."""

    letter: str
    """Its letter."""
    id: str
    """Its own id."""
    note_id: str
    """The id of its footnote."""


@dataclass(frozen=True, kw_only=True)
class HeaderView:
    """The head of a column."""

    lines: tuple[str, ...]
    """What stands there, line by line."""
    name: str
    """The same in one line."""
    unit: str | None
    """Unit of the column's values; None: there is none, or each value names it."""
    is_label: bool
    """Whether the column tells the rows apart."""
    is_text: bool
    """Whether its values are words, not numbers."""
    marks: tuple[Mark, ...]
    """The footnotes that all of its cells share."""


@dataclass(frozen=True, kw_only=True)
class CellView:
    """A cell."""

    text: str
    """The number or the words."""
    doubt: str
    """Its spread or interval; may be empty."""
    sort_key: str
    """What the column is sorted by: a number where there is one; empty: nothing, which comes last."""
    is_label: bool
    """Whether it belongs to what tells the rows apart."""
    is_text: bool
    """Whether its column holds words."""
    marks: tuple[Mark, ...]
    """Its own footnotes."""
    room: int
    """How many marks a cell of its column has at most: they take the same room in all, so that numbers stay aligned."""


@dataclass(frozen=True, kw_only=True)
class RowView:
    """A row."""

    cells: tuple[CellView, ...]
    """One per column."""
    also: str
    """The labels but the first, in words: what a narrow page shows below the first instead of columns of their own."""


@dataclass(frozen=True, kw_only=True)
class Footnote:
    """A footnote."""

    letter: str
    """Its letter."""
    id: str
    """Its id."""
    sentence: str
    """What it says."""
    back_ids: tuple[str, ...]
    """The marks that link to it."""


@dataclass(frozen=True, kw_only=True)
class TableView:
    """A table."""

    id: str
    """Its id on the page."""
    title: str
    """What it shows."""
    headers: tuple[HeaderView, ...]
    """The heads of its columns."""
    groups: tuple[tuple[RowView, ...], ...]
    """Its rows, by group."""
    footnotes: tuple[Footnote, ...]
    """Its footnotes, in the order in which a reader meets them."""
    notes: tuple[str, ...]
    """What is said below it."""
    is_wide: bool
    """Whether spreads and intervals stand below their numbers, since beside them there is no room on most screens."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return sum(map(len, self.groups))


def view_table(table: Table) -> TableView:
    """Lay a table out for a page.

    Args:
        table: The table; its key is unique on the page.
    """
    placed = place_footnotes(table)
    table_id = f"table-{table.key}"
    back_ids: dict[str, list[str]] = {letter: [] for letter in placed.sentences}

    def marks(letters: Sequence[str], place: str) -> tuple[Mark, ...]:
        made = tuple(
            Mark(letter=letter, id=f"{table_id}-{place}-{letter}", note_id=f"{table_id}-note-{letter}")
            for letter in letters
        )
        for mark in made:
            back_ids[mark.letter].append(mark.id)
        return made

    is_text = [_holds_words(row.cells[i] for row in table.rows) for i in range(len(table.columns))]
    cell_marks = [[placed.split(letters) for letters in row] for row in placed.cells]
    rooms = [max((len(row[i]) for row in cell_marks), default=0) for i in range(len(table.columns))]
    headers = tuple(
        HeaderView(
            lines=tuple(column.header.split("\n")),
            name=one_line(column.header),
            unit=None if _name_their_unit(row.cells[i] for row in table.rows) else column.unit,
            is_label=column.is_label,
            is_text=is_text[i],
            marks=marks(placed.split(letters), f"head{i}"),
        )
        for i, (column, letters) in enumerate(zip(table.columns, placed.headers, strict=True))
    )
    groups: list[list[RowView]] = []
    for number, (row, letters_of) in enumerate(zip(table.rows, cell_marks, strict=True)):
        cells = tuple(
            _view_cell(
                cell,
                column=column,
                is_text=is_text[i],
                room=rooms[i],
                marks=marks(letters, f"{number}-{i}"),
            )
            for i, (cell, column, letters) in enumerate(zip(row.cells, table.columns, letters_of, strict=True))
        )
        if row.starts_group or not groups:
            groups.append([])
        groups[-1].append(RowView(cells=cells, also=_other_labels(row, table.columns)))
    return TableView(
        id=table_id,
        title=table.title,
        headers=headers,
        groups=tuple(map(tuple, groups)),
        footnotes=tuple(
            Footnote(
                letter=letter,
                id=f"{table_id}-note-{letter}",
                sentence=sentence,
                back_ids=tuple(back_ids[letter]),
            )
            for letter, sentence in placed.sentences.items()
        ),
        notes=table.notes,
        is_wide=_length(table) > _LONGEST_ROW,
    )


def _length(table: Table) -> int:
    """How many characters the longest row has at most, with what parts the columns."""
    gap = 3
    return sum(
        gap + max(len(text) for text in (*column.header.split("\n"), *(row.cells[i].text for row in table.rows)))
        for i, column in enumerate(table.columns)
    )


def _holds_words(cells: Iterable[Cell]) -> bool:
    """Whether a column has words and not one number."""
    values = [cell.value for cell in cells if cell.value is not None]
    return bool(values) and all(isinstance(value, str) for value in values)


def _name_their_unit(cells: Iterable[Cell]) -> bool:
    """Whether the numbers of a column are printed with a unit or a prefix of their own: 23.6 s, 1.19T."""
    return any(isinstance(cell.value, float) and re.search(r"[A-Za-z]", cell.text) for cell in cells)


def _view_cell(cell: Cell, *, column: Column, is_text: bool, room: int, marks: tuple[Mark, ...]) -> CellView:
    found = None if column.is_label else _DOUBT.search(cell.text)
    is_number = isinstance(cell.value, (int, float)) and not isinstance(cell.value, bool)
    return CellView(
        text=cell.text[: found.start()] if found else cell.text,
        doubt=found[1] if found else "",
        sort_key=repr(cell.value) if is_number else "" if cell.text == UNKNOWN else cell.text,
        is_label=column.is_label,
        is_text=is_text,
        marks=marks,
        room=0 if is_text else room,
    )


def _other_labels(row: Row, columns: Sequence[Column]) -> str:
    named = [
        f"{one_line(column.header)} {cell.text}"
        for column, cell in zip(columns[1:], row.cells[1:], strict=True)
        if column.is_label and cell.text != UNKNOWN
    ]
    return ", ".join(named)
