"""Documents that arrive one by one, written down so that they can be read again: the rows of tables and data sets.

A spool is one file: the length of a document in eight bytes, its bytes, and so on. Memory does not grow with it.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from switchbench.data.texts import FileText, Text, blocks

SPOOL_SPLIT = "rows 1"
"""Part of the fingerprint of every corpus of rows; raised when the same rows would be split differently."""

_LENGTH = struct.Struct("<Q")
_BUFFER_BYTES = 2**20


@dataclass(frozen=True)
class Spool:
    """The documents in a spool, in the order of their arrival; can be read again and again."""

    path: Path
    """The file."""

    def __iter__(self) -> Iterator[Text]:
        with self.path.open("rb", buffering=_BUFFER_BYTES) as file:
            while header := file.read(_LENGTH.size):
                (length,) = _LENGTH.unpack(header)
                if length <= _BUFFER_BYTES:
                    yield file.read(length)
                else:
                    start = file.tell()
                    yield FileText(self.path, start, start + length)
                    file.seek(start + length)


@dataclass(frozen=True, kw_only=True)
class SplitRows:
    """Both parts of a corpus of rows."""

    train: Spool
    """The training part."""
    held_out: Spool
    """The held-out part."""
    num_documents: int
    """Documents in both."""
    num_held_out_documents: int
    """Documents in the held-out part."""
    num_bytes: int
    """Bytes of text in both."""
    held_out_bytes: int
    """Bytes of text in the held-out part."""
    num_binary: int
    """Documents that were left out, since there is a zero byte in them."""


def split_rows(
    rows: Iterable[Text], *, folder: Path, held_out_fraction: float, tell: Callable[[int], None] = lambda count: None
) -> SplitRows:
    """Write each row to one side of the split, by the hash of its content: equal rows are on the same side.

    Empty rows are passed over.

    Args:
        rows: The documents.
        folder: Takes the two spools.
        held_out_fraction: Share of the documents to hold out, on average.
        tell: Told the bytes so far, now and then.

    Raises:
        OSError: the spools cannot be written.
    """
    limit = int(Fraction(repr(held_out_fraction)) * 2**64)
    train, held_out = folder / "train.rows", folder / "held_out.rows"
    counts, sizes, num_binary = [0, 0], [0, 0], 0
    with (
        train.open("wb", buffering=_BUFFER_BYTES) as train_file,
        held_out.open("wb", buffering=_BUFFER_BYTES) as held_out_file,
    ):
        for row in rows:
            if len(row) == 0:
                continue
            digest, is_binary = hashlib.sha256(), False
            for block in blocks(row):
                digest.update(block)
                is_binary = is_binary or b"\0" in block
            if is_binary:
                num_binary += 1
                continue
            is_held_out = int.from_bytes(digest.digest()[:8], "big") < limit
            file = held_out_file if is_held_out else train_file
            file.write(_LENGTH.pack(len(row)))
            file.writelines(blocks(row))
            counts[is_held_out] += 1
            sizes[is_held_out] += len(row)
            if sum(counts) % 4096 == 0:
                tell(sum(sizes))
    return SplitRows(
        train=Spool(train),
        held_out=Spool(held_out),
        num_documents=sum(counts),
        num_held_out_documents=counts[True],
        num_bytes=sum(sizes),
        held_out_bytes=sizes[True],
        num_binary=num_binary,
    )
