"""The report in the terminal: as wide as it is, without cutting a number short.

Where a table is too wide it is split, the columns that tell the rows apart repeated; where even that does not fit,
every row becomes a list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from switchbench.report.elements import Report, SweepReport, Table, one_line, place_footnotes
from switchbench.report.splitting import split_columns

_GAP = 2
"""Spaces between columns."""
_SUPERSCRIPTS = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
_PLAIN = str.maketrans({"±": "+-", "–": "-", "·": "|", "µ": "u"})


def render_report(report: Report, *, console: Console) -> None:
    """Print the report.

    Args:
        report: The report.
        console: Where to; its width, colors (and with them ``NO_COLOR``) and character set are respected.
    """
    screen = _Screen(console=console, is_plain=console.options.ascii_only)
    for i, sweep in enumerate(report.sweeps):
        if i:
            console.print()
        _render_sweep(sweep, screen=screen)


@dataclass(frozen=True, kw_only=True)
class _Screen:
    """A console, and whether it knows more than ASCII."""

    console: Console
    is_plain: bool

    def spell(self, text: str) -> str:
        """Write a text in the characters that the console has."""
        return text.translate(_PLAIN).encode("ascii", "replace").decode() if self.is_plain else text

    def marks(self, letters: str) -> str:
        """Write the marks of footnotes."""
        if not letters or self.is_plain:
            return f"[{letters}]" if letters else ""
        return "".join(_SUPERSCRIPTS.get(letter, letter) for letter in letters)

    def say(self, text: str, *, style: str = "") -> None:
        """Print a paragraph, as it is: a sweep's name may hold what rich would take for markup."""
        self.console.print(Text(self.spell(text), style=style))

    def say_verbatim(self, text: str, *, style: str = "") -> None:
        """Print a line that can be copied: it is not wrapped."""
        self.console.print(Text(self.spell(text), style=style), soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """The texts of a table, footnote marks included, and how wide its columns are."""

    num_labels: int
    headers: list[list[str]]
    rows: list[list[str]]
    widths: list[int]
    starts_group: list[bool]


def _render_sweep(sweep: SweepReport, *, screen: _Screen) -> None:
    screen.say(sweep.name, style="bold")
    if sweep.question:
        screen.say(sweep.question, style="italic")
    screen.console.print()
    screen.say(sweep.summary)
    for table in sweep.tables:
        screen.console.print()
        _render_table(table, screen=screen)
    _render_problems(sweep, screen=screen)
    screen.console.print()
    for note in sweep.notes:
        screen.say(note, style="dim")


def _render_table(table: Table, *, screen: _Screen) -> None:
    screen.say(table.title, style="bold")
    grid = _lay_out(table, screen=screen)
    blocks = split_columns(grid.widths, num_labels=grid.num_labels, available=screen.console.width, gap=_GAP)
    if blocks is None:
        _render_stacked(grid, screen=screen)
    else:
        for i, block in enumerate(blocks):
            if i:
                screen.console.print()
            screen.console.print(_draw(grid, block, screen=screen), soft_wrap=True)
    for letter, sentence in place_footnotes(table).sentences.items():
        screen.say(f"{screen.marks(letter)} {sentence}", style="dim")
    for note in table.notes:
        screen.say(note)


def _render_stacked(grid: _Grid, *, screen: _Screen) -> None:
    """Print every row as a list, for terminals too narrow for a table."""
    headers = [one_line("\n".join(header)) for header in grid.headers]
    for row in grid.rows:
        texts = [text.strip() for text in row]
        named = [f"{header} {text}" for header, text in zip(headers[1 : grid.num_labels], texts[1:], strict=False)]
        screen.say(", ".join([texts[0], *named]), style="bold")
        for header, text in zip(headers[grid.num_labels :], texts[grid.num_labels :], strict=True):
            screen.say(f"  {header}: {text}")


def _render_problems(sweep: SweepReport, *, screen: _Screen) -> None:
    for problem in sweep.problems:
        screen.console.print()
        screen.say(f"{problem.label}, seed {problem.seed}: {problem.status}: {problem.reason.splitlines()[0]}")
        screen.say_verbatim(f"  log: {problem.log_path}", style="dim")
    counts = sweep.counts
    missing = f"{counts.missing} {'is' if counts.missing == 1 else 'are'} missing" if counts.missing else ""
    failed = f"{counts.failed} failed" if counts.failed else ""
    if missing or failed:
        screen.console.print()
        unfinished = " and ".join(part for part in (missing, failed) if part)
        advice = " To complete the sweep:" if sweep.has_open_runs else ""
        screen.say(f"Of {counts.cells} runs {unfinished}.{advice}")
        if advice:
            screen.say_verbatim(f"  {sweep.command}", style="bold")


def _lay_out(table: Table, *, screen: _Screen) -> _Grid:
    footnotes = place_footnotes(table)
    headers = [
        f"{column.header}{screen.marks(marks)}".split("\n")
        for column, marks in zip(table.columns, footnotes.headers, strict=True)
    ]
    marks_of = [[screen.marks(letters) for letters in row] for row in footnotes.cells]
    # Numbers stay aligned on the right: the marks after them take the same room in all cells of a column.
    room = [max((cell_len(row[i]) for row in marks_of), default=0) for i in range(len(headers))]
    rows = [
        [
            screen.spell(cell.text) + mark + " " * (room[i] - cell_len(mark))
            for i, (cell, mark) in enumerate(zip(row.cells, marks, strict=True))
        ]
        for row, marks in zip(table.rows, marks_of, strict=True)
    ]
    return _Grid(
        num_labels=sum(column.is_label for column in table.columns),
        headers=headers,
        rows=rows,
        widths=[max(map(cell_len, [*header, *(row[i] for row in rows)])) for i, header in enumerate(headers)],
        starts_group=[row.starts_group for row in table.rows],
    )


def _draw(grid: _Grid, columns: Sequence[int], *, screen: _Screen) -> Text:
    """Draw some of the columns: rich's own tables would take longer than all the rest of a report of many runs."""
    height = max(len(grid.headers[i]) for i in columns)
    padded = {i: [""] * (height - len(grid.headers[i])) + grid.headers[i] for i in columns}
    header = "\n".join(_join([padded[i][line] for i in columns], columns, grid) for line in range(height))
    rule = ("-" if screen.is_plain else "─") * (sum(grid.widths[i] for i in columns) + _GAP * (len(columns) - 1))
    drawn = Text(f"{header}\n", style="table.header")
    lines = [rule]
    for number, row in enumerate(grid.rows):
        if number and grid.starts_group[number]:
            lines.append("")
        lines.append(_join([row[i] for i in columns], columns, grid))
    return Text.assemble(drawn, "\n".join(lines))


def _join(texts: Sequence[str], columns: Sequence[int], grid: _Grid) -> str:
    """Put the cells of a line beside each other: the first column to the left, the others to the right."""
    room = [" " * (grid.widths[i] - cell_len(text)) for i, text in zip(columns, texts, strict=True)]
    cells = [text + space if i == 0 else space + text for i, text, space in zip(columns, texts, room, strict=True)]
    return (" " * _GAP).join(cells)
