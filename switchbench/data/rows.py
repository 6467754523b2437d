"""Files that are packed: .gz and .zst, and the rows of .jsonl and .parquet with the text in one of their columns."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from switchbench.errors import CorpusError

COMPRESSIONS = (".gz", ".zst")
"""Suffixes of compressed files."""

ROW_SUFFIXES = (".jsonl", ".parquet")
"""Suffixes of files of rows."""

LONGEST_LINE_BYTES = 2**28
"""A longer line of a .jsonl file is refused: a row must fit in memory."""

_PARQUET_ROWS = 256  # at a time


def plain_suffix(name: str) -> str:
    """Suffix of a file in lower case, without that of its compression.

    >>> plain_suffix("a/Book.txt.GZ"), plain_suffix("rows.jsonl"), plain_suffix("a.gz")
    ('.txt', '.jsonl', '')
    """
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def is_compressed(name: str) -> bool:
    """Whether a file of this name is compressed."""
    return name.lower().endswith(COMPRESSIONS)


def is_rows(name: str) -> bool:
    """Whether a file of this name is made of rows; .parquet has a compression of its own."""
    suffix = plain_suffix(name)
    return suffix == ".jsonl" or (suffix == ".parquet" and not is_compressed(name))


def unpacked(path: Path) -> Iterator[bytes]:
    """Read a compressed file, a block at a time.

    Raises:
        CorpusError: it cannot be read, is damaged, or needs a library that is missing.
    """
    with _opened(path) as file:
        while block := file.read(2**20):
            yield block


def read_rows(path: Path, *, column: str) -> Iterator[bytes]:
    """Read the texts of a .jsonl or .parquet file, which may be compressed; rows without a text are passed over.

    Text keeps the bytes that are no UTF-8.

    Args:
        path: The file.
        column: The column with the text.

    Raises:
        CorpusError: it cannot be read, is damaged, lacks the column, or has something else than text in it.
    """
    if plain_suffix(path.name) == ".parquet":
        yield from _parquet_rows(path, column=column)
        return
    with _opened(path) as file:
        number = 0
        while line := file.readline(LONGEST_LINE_BYTES + 1):
            number += 1
            where = f"line {number} of {str(path)!r}"
            if len(line) > LONGEST_LINE_BYTES:
                raise CorpusError(
                    f"{where} is longer than {LONGEST_LINE_BYTES} bytes; a .jsonl file has one document in each line"
                )
            if line.strip():
                yield _text_of(line, column=column, where=where)


def text_bytes(text: Any, *, column: str, where: str) -> bytes:
    """The bytes of a value of a text column; none for null.

    Args:
        text: The value.
        column: Its column, for the message.
        where: Its row, for the message.

    Raises:
        CorpusError: the value is no text.
    """
    if text is None:
        return b""
    if not isinstance(text, str):
        raise CorpusError(
            f"{where} has {type(text).__name__} in the column {column!r}, which must be text; name another one "
            "with data.column"
        )
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # JSON can spell half a character
        return text.encode("utf-8", "surrogatepass")


def missing_column(column: str, *, found: list[str], where: str) -> CorpusError:
    """Say that a column is not there, and which are."""
    return CorpusError(f"{where} has no column {column!r}, only {', '.join(map(repr, found))}; set data.column")


def _text_of(line: bytes, *, column: str, where: str) -> bytes:
    try:
        row = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where} is no JSON: {error}; a .jsonl file has one object in each line") from error
    if not isinstance(row, dict):
        raise CorpusError(f"{where} is {type(row).__name__}, not an object with a column {column!r}")
    if column not in row:
        raise missing_column(column, found=list(row)[:20], where=where)
    return text_bytes(row[column], column=column, where=where)


def _parquet_rows(path: Path, *, column: str) -> Iterator[bytes]:
    import pyarrow  # slow, brings pandas: for those who have such files
    import pyarrow.parquet

    with _opened(path) as file:
        try:
            table = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
            if column not in table.schema_arrow.names:
                raise missing_column(column, found=table.schema_arrow.names[:20], where=repr(str(path)))
            number = 0
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=[column], use_threads=False):
                for value in batch.column(0).to_pylist():
                    number += 1
                    yield text_bytes(value, column=column, where=f"row {number} of {str(path)!r}")
        except pyarrow.ArrowException as error:
            raise _damaged(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading what it holds, compressed or not; its errors become ours."""
    try:
        suffix = path.suffix.lower()
        with path.open("rb") as packed:
            if suffix == ".gz":
                with gzip.open(packed) as file:
                    yield cast(BinaryIO, file)
            elif suffix == ".zst":
                with _zstandard(path).ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
                    yield cast(BinaryIO, io.BufferedReader(reader, buffer_size=2**20))
            else:
                yield packed
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise CorpusError(
            f"cannot read {str(path)!r}: {error.strerror or error}; "
            "make it readable, or leave it out with a glob in data.path"
        ) from error
    except Exception as error:
        if type(error).__name__ == "ZstdError":  # of a library that may be missing
            raise _damaged(path, error) from error
        raise


def _zstandard(path: Path) -> Any:
    try:
        import zstandard
    except ImportError:
        raise CorpusError(
            f"{str(path)!r} needs the library zstandard, which is not installed; "
            "install it with `pip install 'switchbench[hf]'`, or unpack the file"
        ) from None
    return zstandard


def _damaged(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"{str(path)!r} is damaged: {error}; get it again, or leave it out with a glob in data.path")
