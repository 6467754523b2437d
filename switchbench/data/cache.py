"""Prepared corpora on disk: ``<cache root>/<fingerprint>/`` with the tokens of both parts and what is known of them.

A folder appears whole or not at all: it is built under a name that starts with a dot and then renamed. A lock keeps two
processes from doing the same work twice; where locks do not work they do, and the one that ends later uses the other's.
"""

import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from switchbench.data.tokenizers import Tokens, token_dtype
from switchbench.errors import CorpusError

CACHE_VARIABLE = "SWITCHBENCH_CACHE"
"""Environment variable that names the cache root."""

TRAIN_NAME, HELD_OUT_NAME, META_NAME = "train.tokens", "held_out.tokens", "meta.json"
TOKENIZER_NAME = "tokenizer.json"

_LOCK_POLL_S = 0.5
_CHECKED_BYTES = 2**24  # at a time


class Meta(BaseModel):
    """What ``meta.json`` holds; the meaning of the fields is that of ``PreparedCorpus``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    vocab_size: int
    corpus_bytes: int
    num_train_tokens: int
    num_held_out_tokens: int
    held_out_bytes: int
    held_out_overlap: float
    num_files: int
    num_held_out_files: int
    is_cut: bool
    held_out_files: tuple[str, ...]
    """Names of the files that are held out, whole or in part; for people. Rows have no names."""
    left_out: str
    """What was found but not taken, as far as the listing of the files does not tell it."""
    invalid_bytes: int
    invalid_documents: int
    nll_floor: float | None
    revision: str | None
    checksums: tuple[int, int]
    """CRC-32 of the training and of the held-out tokens."""


@dataclass(frozen=True, kw_only=True)
class PreparedCorpus:
    """A corpus as token arrays on disk."""

    fingerprint: str
    """Hash of relative paths, bytes, tokenizer definition and split; names the folder."""
    vocab_size: int
    """Vocabulary, V."""
    corpus_bytes: int
    """Bytes of text, both parts, separators not counted."""
    train_tokens_path: Path
    """Training tokens, for ``read_tokens``: every document after a separator token."""
    held_out_tokens_path: Path
    """Held-out tokens, in the same form."""
    num_train_tokens: int
    """Training tokens, separators counted."""
    num_held_out_tokens: int
    """Held-out tokens, separators counted: all but the first are there to be predicted."""
    held_out_bytes: int
    """Bytes of text that the held-out tokens stand for; 0 of generated symbols, which are no text. Separators stand for
    none, yet predicting the end of a document is part of the score:
    bits per byte = nll / ln 2 · num_held_out_tokens / held_out_bytes."""
    held_out_overlap: float
    """Share of the held-out 64-byte windows that also occur in the training text."""
    num_files: int
    """Files with text in either part."""
    num_held_out_files: int
    """Files with held-out text. A file that was cut counts here and trains as well."""
    is_cut: bool
    """Whether the held-out text is the ends of files that are trained on, because there were too few whole files."""
    invalid_bytes: int
    """Bytes of text that are no UTF-8."""
    invalid_documents: int
    """Files, or rows, with such bytes."""
    nll_floor: float | None
    """Of a generated text: the generator's own nll on all held-out targets, nats per token; None: nobody knows it."""
    revision: str | None
    """Commit of the data set on the Hugging Face Hub; None: it is not from there."""
    tokenizer_path: Path | None
    """The tokenizer.json that made the tokens, for ``tokenizers.open_tokenizer``; None: they are bytes or symbols."""
    skipped: str = ""
    """What was found but not read, in words, such as ``3 files with other suffixes (.pdf, .png)``; empty where nothing
    was, and where the corpus was opened by its fingerprint alone."""


def open_prepared_corpus(fingerprint: str, *, cache_root: Path | None = None) -> PreparedCorpus:
    """Open a corpus that was prepared on this machine.

    Args:
        fingerprint: The corpus's fingerprint.
        cache_root: Where prepared corpora are kept; None: ``default_cache_root()``.

    Raises:
        CorpusError: it is not there, or damaged.
    """
    root = cache_root or default_cache_root()
    prepared = find_prepared(root, fingerprint)
    if prepared is None:
        raise CorpusError(
            f"the cache folder {str(root)!r} holds no intact corpus {fingerprint}; "
            f"start the sweep again to prepare it, with the same {CACHE_VARIABLE} if you set that variable"
        )
    return prepared


def read_tokens(path: Path, *, vocab_size: int) -> Tokens:
    """Map a token array into memory, read only.

    Returns:
        Tokens, one-dimensional, in ``token_dtype(vocab_size)``.

    Raises:
        CorpusError: the file cannot be read.
    """
    try:
        return np.memmap(path, dtype=token_dtype(vocab_size), mode="r")
    except (OSError, ValueError) as error:
        raise CorpusError(f"cannot read the tokens at {str(path)!r}: {error}; start the sweep again") from error


def default_cache_root() -> Path:
    """Where prepared corpora are kept: $SWITCHBENCH_CACHE, $XDG_CACHE_HOME/switchbench or ~/.cache/switchbench."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(os.path.expanduser(named))
    # XDG_CACHE_HOME counts only where it is absolute (XDG Base Directory Specification).
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache")) / "switchbench"


def find_prepared(root: Path, fingerprint: str, *, is_read: bool = False) -> PreparedCorpus | None:
    """The prepared corpus of a fingerprint; None where it is missing or damaged.

    Args:
        root: The cache root.
        fingerprint: The corpus's fingerprint.
        is_read: Whether to read all tokens and compare their checksums; else the lengths must do.
    """
    folder = root.absolute() / fingerprint  # absolute: the paths go to processes that may work elsewhere
    try:
        meta = Meta.model_validate_json((folder / META_NAME).read_bytes())
        lengths = [(folder / name).stat().st_size for name in (TRAIN_NAME, HELD_OUT_NAME)]
    except (OSError, ValidationError):
        return None
    width = token_dtype(meta.vocab_size).itemsize
    if lengths != [meta.num_train_tokens * width, meta.num_held_out_tokens * width]:
        return None
    if is_read and meta.checksums != checksums(folder):
        return None
    has_tokenizer = (folder / TOKENIZER_NAME).exists()
    return PreparedCorpus(
        fingerprint=fingerprint,
        train_tokens_path=folder / TRAIN_NAME,
        held_out_tokens_path=folder / HELD_OUT_NAME,
        tokenizer_path=folder / TOKENIZER_NAME if has_tokenizer else None,
        skipped=meta.left_out,
        **meta.model_dump(exclude={"held_out_files", "left_out", "checksums"}),
    )


def checksums(folder: Path) -> tuple[int, int]:
    """CRC-32 of the training and of the held-out tokens in a folder.

    Raises:
        CorpusError: they cannot be read.
    """
    return _checksum(folder / TRAIN_NAME), _checksum(folder / HELD_OUT_NAME)


@contextmanager
def building_lock(root: Path, fingerprint: str, *, tell: Callable[[], None]) -> Iterator[None]:
    """Wait until no other process builds the prepared corpus of a fingerprint, and keep others from it.

    Args:
        root: The cache root.
        fingerprint: The corpus's fingerprint.
        tell: Called now and then while there is a wait.
    """
    path = root / f".{fingerprint}.lock"
    lock = FileLock(path)
    with suppress(OSError):  # without locks the work may be done twice, and nothing worse
        root.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                lock.acquire(timeout=_LOCK_POLL_S)
            except Timeout:
                tell()
            else:
                break
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows keeps a file that somebody waits for
                path.unlink()
            lock.release()


@contextmanager
def new_folder(root: Path, fingerprint: str) -> Iterator[Path]:
    """Give an empty folder to build in; when the block ends well, it becomes the prepared corpus of the fingerprint.

    Raises:
        CorpusError: the cache root cannot be written.
    """
    building = root / f".{fingerprint}-{uuid.uuid4().hex}"
    try:
        building.mkdir(parents=True)
        yield building
        for file in building.iterdir():
            _flush(file)
        _publish(building, root / fingerprint)
    except OSError as error:
        raise CorpusError(
            f"cannot write the cache folder {str(root)!r}: {error.strerror or error}; "
            f"set the environment variable {CACHE_VARIABLE} to a folder that can be written and has room"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _publish(building: Path, final: Path) -> None:
    """Rename a finished folder to its final name, unless an intact one has taken it; a damaged one makes way."""
    for _ in range(3):  # each failure means that somebody else published or removed a folder just now
        try:
            building.rename(final)
        except OSError:
            if not final.exists():
                raise
        else:
            return
        if find_prepared(final.parent, final.name, is_read=True) is not None:
            return
        aside = building.with_name(building.name + "-damaged")
        with suppress(FileNotFoundError):  # somebody else has cleared the way
            final.rename(aside)
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    raise CorpusError(f"the cache folder {str(final)!r} keeps changing; stop the other processes that write it")


def _checksum(path: Path) -> int:
    checksum = 0
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_CHECKED_BYTES):
                checksum = zlib.crc32(block, checksum)
    except OSError as error:
        raise CorpusError(f"cannot read the tokens at {str(path)!r}: {error}; start the sweep again") from error
    return checksum


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
