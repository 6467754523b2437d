from dataclasses import replace

from switchbench.report.elements import Cell, Column, Row, Table, place_footnotes
from switchbench.report.page.tables import view_table

TABLE = Table(
    key="made_up",
    title="Made up",
    columns=(
        Column(key="model", header="model", is_label=True),
        Column(key="experts", header="number of\nexperts", is_label=True),
        Column(key="nll", header="nll", unit="nats/token"),
        Column(key="time", header="wall-\nclock", unit="s"),
        Column(key="status", header="status"),
    ),
    rows=(
        Row(
            config_id="a",
            cells=(
                Cell(text="dense", value="xxs"),
                Cell(text="–"),
                Cell(text="1.640 ± 0.004", value=1.64, spread=0.004, caveats=("SINGLE_SEED", "REPEATED_DATA")),
                Cell(text="23.6 s", value=23.6, caveats=("CPU_TIMING",)),
                Cell(text="ok", value="ok"),
            ),
        ),
        Row(
            config_id="b",
            starts_group=True,
            cells=(
                Cell(text="Switch", value="xxs"),
                Cell(text="16", value=16),
                Cell(text="1.600 [1.590, 1.610]", value=1.6, caveats=("SINGLE_SEED",)),
                Cell(text="not reached", caveats=("CPU_TIMING", "NOT_REACHED")),
                Cell(text="diverged", value="diverged"),
            ),
        ),
    ),
    notes=("A note.",),
)


def test_marks_stand_where_the_document_places_them_and_link_both_ways() -> None:
    view, placed = view_table(TABLE), place_footnotes(TABLE)
    assert ["".join(mark.letter for mark in header.marks) for header in view.headers] == list(placed.headers)
    rows = [row for group in view.groups for row in group]
    assert [["".join(m.letter for m in cell.marks) for cell in row.cells] for row in rows] == [
        list(row) for row in placed.cells
    ]
    assert {note.letter: note.sentence for note in view.footnotes} == placed.sentences
    notes = {note.id: note for note in view.footnotes}
    marks = [m for header in view.headers for m in header.marks]
    marks += [m for row in rows for cell in row.cells for m in cell.marks]
    assert len(notes) == 4
    assert len({mark.id for mark in marks} | set(notes)) == len(marks) + len(notes)
    for mark in marks:
        assert notes[mark.note_id].letter == mark.letter
        assert mark.id in notes[mark.note_id].back_ids
    assert sum(len(note.back_ids) for note in notes.values()) == len(marks)


def test_marks_take_the_same_room_in_all_cells_of_a_column() -> None:
    rows = [row for group in view_table(TABLE).groups for row in group]
    longest = [max(len(row.cells[i].marks) for row in rows) for i in range(5)]
    assert [[cell.room for cell in row.cells] for row in rows] == [longest] * 2
    assert longest == [0, 0, 1, 1, 0]


def test_a_number_and_its_doubt_are_the_text_together() -> None:
    rows = [row for group in view_table(TABLE).groups for row in group]
    assert [(row.cells[2].text, row.cells[2].doubt) for row in rows] == [
        ("1.640", "± 0.004"),
        ("1.600", "[1.590, 1.610]"),
    ]
    for row, shown in zip(TABLE.rows, rows, strict=True):
        for cell, seen in zip(row.cells, shown.cells, strict=True):
            assert f"{seen.text} {seen.doubt}".strip() == cell.text


def test_columns_sort_by_number_then_word_and_unknown_comes_last() -> None:
    rows = [row for group in view_table(TABLE).groups for row in group]
    assert [row.cells[2].sort_key for row in rows] == ["1.64", "1.6"]
    assert [row.cells[3].sort_key for row in rows] == ["23.6", "not reached"]
    assert [row.cells[1].sort_key for row in rows] == ["", "16"]
    assert [row.cells[0].sort_key for row in rows] == ["dense", "Switch"]


def test_a_unit_stands_above_numbers_that_do_not_name_it() -> None:
    headers = view_table(TABLE).headers
    assert [header.unit for header in headers] == [None, None, "nats/token", None, None]
    assert (headers[3].lines, headers[3].name) == (("wall-", "clock"), "wall-clock")
    assert [header.is_text for header in headers] == [True, False, False, False, True]


def test_groups_and_the_labels_that_a_narrow_page_joins() -> None:
    view = view_table(TABLE)
    assert [len(group) for group in view.groups] == [1, 1]
    assert [row.also for group in view.groups for row in group] == ["", "number of experts 16"]
    assert (view.num_rows, view.notes) == (2, ("A note.",))
    assert view_table(replace(TABLE, rows=())).num_rows == 0


def test_intervals_stand_below_their_numbers_where_a_row_is_too_long_for_a_screen() -> None:
    assert not view_table(TABLE).is_wide
    columns = (TABLE.columns[0], *(replace(TABLE.columns[2], key=f"c{i}") for i in range(12)))
    rows = tuple(replace(row, cells=(row.cells[0], *[row.cells[2]] * 12)) for row in TABLE.rows)
    assert view_table(replace(TABLE, columns=columns, rows=rows)).is_wide
