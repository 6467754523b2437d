import pytest

from switchbench.caveats import Caveat
from switchbench.report.elements import Cell, Column, Row, Table, footnote_marks, one_line, place_footnotes


def small_table(*columns: list[tuple[str, ...] | None]) -> Table:
    """A table of the given caveats by column; None is an empty cell."""
    rows = zip(*columns, strict=True)
    return Table(
        key="t",
        title="T",
        columns=tuple(Column(key=f"c{i}", header=f"c{i}") for i in range(len(columns))),
        rows=tuple(
            Row(
                config_id="x",
                cells=tuple(
                    Cell(text="–") if codes is None else Cell(text="1", value=1.0, caveats=codes) for codes in row
                ),
            )
            for row in rows
        ),
    )


def test_a_footnote_that_all_filled_cells_share_moves_to_the_header():
    placed = place_footnotes(
        small_table(
            [None, ("CPU_TIMING",), ("SINGLE_SEED", "CPU_TIMING")],
            [("SINGLE_SEED",), (), ()],
            [None, None, ("REPEATED_DATA",)],
        )
    )
    assert placed.headers == ("a", "", "")
    assert placed.cells == (("", "b", ""), ("", "", ""), ("b", "", "c"))
    assert [sentence.split()[0] for sentence in placed.sentences.values()] == ["Timed", "One", "More"]
    assert list(placed.sentences) == ["a", "b", "c"]


def test_a_table_without_doubts_has_no_footnotes():
    placed = place_footnotes(small_table([(), ()], [None, ()]))
    assert (placed.headers, placed.cells, placed.sentences) == (("", ""), (("", ""), ("", "")), {})


def test_what_is_1_by_definition_keeps_no_footnote_out_of_the_header():
    cells = (Cell(text="1x", value=1.0, is_reference=True), *(Cell(text="2", value=2.0, caveats=("CPU_TIMING",)),) * 2)
    rows = tuple(Row(config_id="x", cells=(cell,)) for cell in cells)
    placed = place_footnotes(Table(key="t", title="T", columns=(Column(key="c", header="c"),), rows=rows))
    assert placed.headers == ("a",)
    assert placed.cells == (("",), ("",), ("",))


@pytest.mark.parametrize(
    ("header", "line"),
    [("wall-\nclock", "wall-clock"), ("tokens/\nactive", "tokens/active"), ("time to\ntarget", "time to target")],
)
def test_a_header_in_one_line(header: str, line: str):
    assert one_line(header) == line


def test_there_is_a_mark_for_every_caveat_there_is():
    marks = footnote_marks(800)
    assert len(set(marks)) == 800
    assert (marks[0], marks[25], marks[26], marks[27], marks[52], marks[702]) == ("a", "z", "aa", "ab", "ba", "aaa")


@pytest.mark.parametrize("number", [26, len(Caveat)])
def test_a_table_with_many_footnotes_tells_their_marks_apart(number: int):
    codes = tuple(map(str, Caveat))[:number]
    placed = place_footnotes(small_table([(code,) for code in codes], [codes[-2:]] * number))
    marks = list(placed.sentences)
    assert len(marks) == number
    assert placed.split(placed.headers[1]) == tuple(marks[:2])  # what a header says comes first
    told = [placed.split(row[0]) for row in placed.cells]
    assert [len(each) for each in told] == [1] * number
    assert {mark for each in told for mark in each} == set(marks)
    assert placed.split("") == ()
