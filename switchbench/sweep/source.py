"""Where things stand: the text of a sweep file or an override, places in it, and the problems found there."""

import codecs
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from switchbench.errors import Problem, SweepFileError

MAX_FILE_BYTES = 1_000_000
"""Largest sweep file; more is surely not one, and must not be read into memory."""

MAX_FILES = 10
"""Most files of one sweep: a file, the one that it extends, the one that this extends, and so on."""

COMMAND_LINE = "command line"
_LINE_BREAK = re.compile("\r\n|[\n\r]")
_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_SHOWN_LINE = 500


@dataclass(frozen=True)
class Source:
    """A sweep file's text, or one override."""

    name: str
    """The file's path as the user wrote it, or ``command line``."""
    text: str
    """All of it."""
    order: int = 0
    """0 for the file; then the files that it extends, then overrides in the order they were given."""

    @cached_property
    def lines(self) -> list[str]:
        """The lines, by the line breaks of YAML 1.2."""
        return _LINE_BREAK.split(self.text)


@dataclass(frozen=True)
class Place:
    """A character of a source; line and column count from 1."""

    source: Source
    line: int
    column: int


class Findings:
    """Collects problems, so that all of them are reported at once and each of them once.

    Args:
        file: The sweep file's path as the user wrote it; named by the problems that have no place of their own.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: dict[tuple[int, int, int, str], Problem] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place | None, message: str) -> None:
        """Add a problem at a place, or with the whole file."""
        if place is None:
            self._found[-1, 0, 0, message] = Problem(message=message, file=self._file)
            return
        source = place.source
        line = source.lines[place.line - 1] if place.line <= len(source.lines) else ""
        shown = _NOT_SHOWN.sub(" ", line) if len(line) <= _LONGEST_SHOWN_LINE else None
        on_command_line = source.name == COMMAND_LINE
        self._found[source.order, place.line, place.column, message] = Problem(
            message=message,
            file=source.name,
            line=None if on_command_line else place.line,
            column=place.column,
            source=shown,
        )

    def raise_if_any(self) -> None:
        """Raise all problems: those of the whole file first, then in the order of the file, then of the overrides.

        Raises:
            SweepFileError: at least one problem was added.
        """
        if self._found:
            raise SweepFileError([self._found[key] for key in sorted(self._found)])


def read_source(path: Path, *, findings: Findings, order: int = 0, named_at: Place | None = None) -> Source | None:
    """Read a sweep file's text; None, with a problem found, if that cannot be done.

    Args:
        path: The file.
        findings: Takes the problem.
        order: Its place among the files of the sweep.
        named_at: Where another file names it, which is where the problem then stands.
    """
    named = f"{path}: " if named_at else ""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except IsADirectoryError:
        findings.add(named_at, f"{named}this is a folder; a sweep file was expected")
    except FileNotFoundError:
        findings.add(named_at, f"{named}there is no such file{_similar_file(path)}")
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
        findings.add(named_at, f"{named}cannot be read: {getattr(error, 'strerror', None) or error}")
    else:
        if len(content) > MAX_FILE_BYTES:
            findings.add(named_at, f"{named}is larger than {MAX_FILE_BYTES:,} bytes, so it is not a sweep file")
        else:
            return _decoded(content, name=str(path), order=order, findings=findings)
    return None


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a misspelt word most likely stands for.

    >>> closest("capacty_factor", ["capacity_factor", "num_experts"])
    'capacity_factor'
    """
    matches = difflib.get_close_matches(word.lower()[:100], list(candidates), n=1)
    return matches[0] if matches else None


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A question to append to a message, or nothing where no candidate is close."""
    match = closest(word, candidates)
    return f" Did you mean '{match}'?" if match else ""


def _decoded(content: bytes, *, name: str, order: int, findings: Findings) -> Source | None:
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return Source(name, content.decode(), order)
    except UnicodeDecodeError as error:
        source = Source(name, content.decode(errors="replace"), order)
        before = _LINE_BREAK.split(content[: error.start].decode())
        byte = content[error.start]
        findings.add(Place(source, len(before), len(before[-1]) + 1), f"is not UTF-8 text: byte 0x{byte:02X} here")
        return None


def _similar_file(path: Path) -> str:
    try:
        siblings = [sibling.name for sibling in path.parent.iterdir() if sibling.suffix in (".yaml", ".yml")]
    except OSError:
        return ""
    match = closest(path.name, siblings)
    return f". Did you mean '{path.parent / match}'?" if match else ""
