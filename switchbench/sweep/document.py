"""From YAML text to a tree of values that know their places: YAML 1.2 numbers, no duplicate keys, no anchors.

The tree is built from the parser's events rather than from its objects: that keeps the place of every key and value,
reports every duplicate key, and needs no recursion, however deep a file is nested.
"""

import math
import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from switchbench.sweep.source import Findings, Place, Source

MAX_DEPTH = 20
"""Deepest nesting; a sweep file needs 6."""
MAX_INT = 2**63 - 1
"""Largest whole number; beyond it, arithmetic in floats would fail."""

# The core schema of YAML 1.2 (section 10.3.2): `yes`, `on` and `1_000` are text, `1e-3` is a number.
_NULL = re.compile(r"(null|Null|NULL|~|)\Z")
_TRUE = re.compile(r"(true|True|TRUE)\Z")
_FALSE = re.compile(r"(false|False|FALSE)\Z")
_INT = re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

# The parser's jargon for the commonest slips, and what to say instead.
_SYNTAX_WORDS = {
    "'\\t'": "a tab, where only spaces may stand",
    "mapping values are not allowed": "a ':' that cannot stand here; text with a colon in it needs quotes",
    "could not find expected ':'": "a line that is neither a key with a ':' nor a list item",
    "<block end>": "this does not fit the lines above; check their indentation and quotes",
    "<document start>": "this does not belong to anything above; check indentation, quotes and brackets",
}


class Broken(Enum):
    """Stands for a value that could not be read and whose problem has been reported."""

    BROKEN = "broken"


BROKEN = Broken.BROKEN
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Node:
    """A value and where it begins."""

    place: Place
    value: "Scalar | list[Node] | dict[str, Entry] | Broken"
    text: str = ""
    """A scalar as it was written."""
    quoted: bool = False
    """Whether it was written in quotes or as a block."""


@dataclass(frozen=True)
class Entry:
    """A key's place and its value."""

    place: Place
    node: Node


@dataclass
class _Open:
    """A list or mapping whose end has not come yet."""

    node: Node
    key: Node | None = None
    """In a mapping: the key whose value comes next."""
    keys: dict[str, Place] = field(default_factory=dict)


def parse(
    text: str, *, source: Source, findings: Findings, first_line_offset: int = 0, allow_empty: bool = False
) -> Node | None:
    """Read YAML text; None, with a problem found, where it is not YAML at all.

    Args:
        text: The text; the whole source, or its end.
        source: Where the text stands.
        findings: Takes the problems.
        first_line_offset: Characters of the source's first line before the text.
        allow_empty: Whether no value at all is null rather than a problem.
    """

    def place(line: int, column: int) -> Place:
        return Place(source, line + 1, column + 1 + (first_line_offset if line == 0 else 0))

    unreadable = _NOT_YAML.search(text)
    if unreadable:
        before = Source("", text[: unreadable.start()]).lines
        findings.add(place(len(before) - 1, len(before[-1])), _refused_character(unreadable.group()))
        return None
    last = (0, 0)
    builder = _Builder(findings)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            last = (event.start_mark.line, event.start_mark.column)
            if not builder.take(event, place(*last)):
                return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        findings.add(place(mark.line, mark.column) if mark else place(*last), _syntax_message(error))
        return None
    except Exception as error:  # the parser lets bare Python errors through, such as OverflowError for "\UFFFFFFFF"
        findings.add(place(*last), f"not valid YAML after this point: {error}")
        return None
    if builder.root is None and allow_empty:
        return Node(place(0, 0), None)
    return builder.root


def has_broken(node: Node) -> bool:
    """Whether a value or a part of it could not be read."""
    if isinstance(node.value, list):
        return any(map(has_broken, node.value))
    if isinstance(node.value, dict):
        return any(has_broken(entry.node) for entry in node.value.values())
    return node.value is BROKEN


def plain(node: Node) -> Any:
    """The value as plain Python data; whole floats become ints, so that `1`, `1.0` and `1e0` are one value."""
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: plain(entry.node) for key, entry in node.value.items()}
    if isinstance(node.value, float) and node.value.is_integer() and abs(node.value) < 2**53:
        return int(node.value)
    return node.value


def describe(node: Node) -> str:
    """A value in a few words, for messages."""
    match node.value:
        case None:
            return "nothing (null)"
        case bool():
            return "true" if node.value else "false"
        case str():
            shown = node.value if len(node.value) <= 60 else node.value[:57] + "..."
            return f"the text {shown!r}{_number_hint(node)}"
        case int() | float():
            return node.text if len(node.text) <= 40 else node.text[:37] + "..."
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return "something unreadable"


class _Builder:
    """Builds the tree from the parser's events."""

    def __init__(self, findings: Findings) -> None:
        self.root: Node | None = None
        self._findings = findings
        self._open: list[_Open] = []

    def take(self, event: Any, place: Place) -> bool:
        """Take the next event; False where reading on makes no sense."""
        match event:
            case DocumentStartEvent():
                return self._start_document(event, place)
            case AliasEvent():
                self._findings.add(place, f"aliases are not supported; write the value of *{event.anchor} out")
                self._add(Node(place, BROKEN))
            case ScalarEvent():
                self._refuse_properties(event, place)
                self._add(self._scalar(event, place))
            case SequenceStartEvent() | MappingStartEvent():
                if len(self._open) == MAX_DEPTH:
                    self._findings.add(place, f"nested more than {MAX_DEPTH} levels deep")
                    return False
                self._refuse_properties(event, place)
                self._open.append(_Open(Node(place, [] if isinstance(event, SequenceStartEvent) else {})))
            case SequenceEndEvent() | MappingEndEvent():
                self._add(self._open.pop().node)
            case _:
                pass
        return True

    def _start_document(self, event: DocumentStartEvent, place: Place) -> bool:
        if self.root is not None:
            self._findings.add(place, "a second document begins here; a sweep file is one document")
            return False
        if event.version not in (None, (1, 2)):
            self._findings.add(place, "sweep files are YAML 1.2; remove the %YAML line")
            return False
        return True

    def _refuse_properties(self, event: Any, place: Place) -> None:
        if event.anchor is not None:
            self._findings.add(place, f"anchors are not supported; remove &{event.anchor} and write the value out")
        if event.tag is not None:
            self._findings.add(place, f"tags are not supported; remove {event.tag}")

    def _scalar(self, event: ScalarEvent, place: Place) -> Node:
        text: str = event.value
        unreadable = _NOT_YAML.search(text)
        if unreadable:  # written as an escape, such as "\\0"
            self._findings.add(place, _refused_character(unreadable.group()))
            return Node(place, BROKEN)
        if not event.implicit[0]:
            return Node(place, text, text=text, quoted=True)
        value: Scalar | Broken = text
        if _NULL.match(text):
            value = None
        elif _TRUE.match(text) or _FALSE.match(text):
            value = text[0] in "tT"
        elif _INT.match(text) or _FLOAT.match(text) or _NOT_FINITE.match(text):
            value = self._number(text, place)
        return Node(place, value, text=text)

    def _number(self, text: str, place: Place) -> int | float | Broken:
        shown = text if len(text) <= 40 else text[:37] + "..."
        if _INT.match(text):
            try:
                value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            except ValueError:  # more digits than Python converts
                value = MAX_INT + 1
            if abs(value) <= MAX_INT:
                return value
            self._findings.add(place, f"{shown} is too large a number")
            return BROKEN
        number = math.nan if _NOT_FINITE.match(text) else float(text)
        if math.isfinite(number):
            return number
        self._findings.add(place, f"{shown} is not a finite number")
        return BROKEN

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            if node.value is None and not node.text:  # the parser puts "nothing" where the next thing begins
                node = replace(node, place=parent.key.place)
            self._add_entry(parent, parent.key, node)
            parent.key = None

    def _add_entry(self, parent: _Open, key: Node, node: Node) -> None:
        if not isinstance(key.value, str) or not key.value.isprintable():
            if key.value is not BROKEN:
                self._findings.add(key.place, f"a key must be text on one line, got {describe(key)}")
            return
        if key.value == "<<" and not key.quoted:
            self._findings.add(key.place, "merge keys are not supported; write the values out")
            return
        first = parent.keys.setdefault(key.value, key.place)
        if first is not key.place:
            self._findings.add(
                key.place,
                f"duplicate key {key.value!r}; it was first given at line {first.line}, column {first.column}",
            )
            return
        assert isinstance(parent.node.value, dict)
        parent.node.value[key.value] = Entry(key.place, node)


def _syntax_message(error: MarkedYAMLError) -> str:
    problem = error.problem or error.context or "something is wrong here"
    for sign, words in _SYNTAX_WORDS.items():
        if sign in problem:
            return f"not valid YAML: {words}"
    message = f"not valid YAML: {problem}"
    if error.problem and error.context and error.context_mark:
        message += f", {error.context} that begins at line {error.context_mark.line + 1}"
    return message


def _refused_character(character: str) -> str:
    return f"the character U+{ord(character):04X} is not allowed in a sweep file"


def _number_hint(node: Node) -> str:
    assert isinstance(node.value, str)
    if node.quoted and (_INT.match(node.value) or _FLOAT.match(node.value)):
        return "; a number stands without quotes"
    if re.fullmatch(r"[-+]?\d{1,3}([_,]\d{3})+", node.value):
        return "; write the digits without separators"
    return ""
