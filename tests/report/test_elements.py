import pytest

from switchbench.report.elements import Cell, Column, Row, Table, one_line, place_footnotes


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
