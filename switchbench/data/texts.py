"""Texts that need not fit in memory: parts of files, cut into pieces, with the bytes that are no UTF-8 counted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from switchbench.errors import CorpusError

PIECE_BYTES = 2**20
"""Longer documents are read and tokenized in pieces of this length or a little less."""

_BLOCK_BYTES = 2**20


class Text(Protocol):
    """A length in bytes, and slices: ``bytes`` are one."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class FileText:
    """A part of a file, read anew at each look."""

    path: Path
    """The file."""
    start: int
    """Offset of the first byte."""
    stop: int
    """Offset after the last byte."""

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice, /) -> bytes:
        first, last, _ = part.indices(len(self))
        return read_range(self.path, self.start + first, self.start + max(first, last))


def read_range(path: Path, start: int, stop: int) -> bytes:
    """Read a part of a file.

    Raises:
        CorpusError: it cannot be read, or ends too early.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            parts = []
            while stop > start and (part := file.read(stop - start)):
                parts.append(part)
                start += len(part)
    except OSError as error:
        raise CorpusError(
            f"cannot read {str(path)!r}: {error.strerror or error}; "
            "make it readable, or leave it out with a glob in data.path"
        ) from error
    if start < stop:
        raise CorpusError(f"{str(path)!r} became shorter while it was read; start again when the text is complete")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def blocks(text: Text) -> Iterator[bytes]:
    """Read a text from its start to its end, a block at a time, wherever they may be cut."""
    for start in range(0, len(text), _BLOCK_BYTES):
        yield text[start : start + _BLOCK_BYTES]


def pieces(text: Text, *, most_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Cut a text into pieces before the start of a line, else of a word, else of a UTF-8 character.

    A piece is at least half of what it may be, unless it is the last, so that no text takes long to cut.

    Args:
        text: The text.
        most_bytes: Longest piece; at least 8.
    """
    start = 0
    while start < len(text):
        piece = text[start : start + most_bytes]
        if start + len(piece) < len(text):
            piece = piece[: _last_cut(piece)]
        yield piece
        start += len(piece)


def decode(piece: bytes) -> tuple[str, int]:
    """Decode a piece of text, with U+FFFD in place of what is no UTF-8.

    Returns:
        The text, and the number of bytes that were no UTF-8.

    >>> decode("né".encode() + b"\\xff")
    ('né\ufffd', 1)
    """
    try:
        return piece.decode(), 0
    except UnicodeDecodeError:
        return piece.decode(errors="replace"), len(piece) - len(piece.decode(errors="ignore").encode())


def _last_cut(piece: bytes) -> int:
    least = len(piece) // 2
    for blank in (b"\n", b" "):
        if (cut := piece.rfind(blank, least)) > 0:
            return cut
    for cut in range(len(piece) - 1, max(least, len(piece) - 4), -1):
        if piece[cut] & 0xC0 != 0x80:  # not a continuation byte
            return cut
    return len(piece)
