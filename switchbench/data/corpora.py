"""Corpora: their identity, and the tokens made from them.

``identify_corpus`` needs no tokenizing; ``prepare_corpus`` makes the token arrays once and keeps them (see ``cache``).
The files of each corpus are listed by a function of its own in ``files``.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import assert_never

import numpy as np

from switchbench.data.cache import (
    HELD_OUT_NAME,
    META_NAME,
    TRAIN_NAME,
    Meta,
    PreparedCorpus,
    default_cache_root,
    find_prepared,
    new_folder,
    open_prepared_corpus,
    read_tokens,
)
from switchbench.data.files import Document, Listing, list_python_stdlib, list_text, read_document
from switchbench.data.overlap import window_overlap
from switchbench.data.split import SPLIT_VERSION, split_corpus
from switchbench.data.tokenizers import Tokenizer, find_tokenizer, token_dtype
from switchbench.errors import CorpusError
from switchbench.spec import DataIdentity, DataSpec

__all__ = ["PreparedCorpus", "doubts_about", "identify_corpus", "open_prepared_corpus", "prepare_corpus", "read_tokens"]

Progress = Callable[[str, float], None]
"""Takes what is being done, in words, and how far the whole preparation is, from 0 to 1."""


def identify_corpus(data: DataSpec) -> DataIdentity:
    """Find a corpus and compute its identity: a hash of relative paths, bytes, tokenizer definition and split.

    The place of the files on the disk and their times do not enter. Takes about 0.1 s for ten megabytes.

    Raises:
        CorpusError: the corpus is missing, empty, unreadable, or too short for sequences of ``data.seq_len``.
    """
    listing = _list(data)
    tokenizer = find_tokenizer(data.tokenizer)
    if listing.num_bytes * data.held_out_fraction < 4 * (data.seq_len + 1):
        # Too little to be sure of a sequence on either side of the split, and little enough to find out.
        train, held_out = (
            _count_tokens(side, tokenizer=tokenizer) for side in _sides(listing.documents, _split(data, listing))
        )
        _check_length(data, listing, train=train, held_out=held_out)
    return DataIdentity(fingerprint=_fingerprint(data, listing), vocab_size=tokenizer.vocab_size)


def prepare_corpus(
    data: DataSpec, *, cache_root: Path | None = None, progress: Progress | None = None
) -> PreparedCorpus:
    """Open a corpus's token arrays, after making them if they are missing or damaged.

    Args:
        data: The corpus, its tokenizer and its split.
        cache_root: Where prepared corpora are kept; None: ``cache.default_cache_root()``.
        progress: Told what is being done.

    Raises:
        CorpusError: as for ``identify_corpus``; or the cache root cannot be written, or a file changed meanwhile.
    """
    root = cache_root or default_cache_root()
    tell = progress or (lambda doing, fraction: None)
    tell("reading text", 0.0)
    listing = _list(data)
    fingerprint = _fingerprint(data, listing)
    prepared = find_prepared(root, fingerprint)
    if prepared is None:
        _build(data, listing, root, fingerprint, tell)
        prepared = open_prepared_corpus(fingerprint, cache_root=root)
    _check_length(data, listing, train=prepared.num_train_tokens, held_out=prepared.num_held_out_tokens)
    tell("corpus ready", 1.0)
    return replace(prepared, skipped=listing.skipped)


def doubts_about(corpus: PreparedCorpus, *, name: str) -> list[str]:
    """Say what a user may not expect of a corpus: what was left out of it, and how it was cut.

    Args:
        corpus: The corpus, as it was prepared.
        name: What the user calls it.
    """
    doubts = []
    if corpus.skipped:
        doubts.append(f"left out of {name}: {corpus.skipped}")
    if corpus.is_cut:
        files = "its file" if corpus.num_files == 1 else f"{corpus.num_held_out_files} of its {corpus.num_files} files"
        doubts.append(
            f"the held-out part of {name} is cut from the end of {files}, since there are too few whole files: it may "
            "resemble the training part"
        )
    return doubts


def _list(data: DataSpec) -> Listing:
    match data.corpus:
        case "python-stdlib":
            return list_python_stdlib()
        case "text":
            assert data.path is not None, "checked by the specification"
            return list_text(data.path)
        case _:
            assert_never(data.corpus)


def _fingerprint(data: DataSpec, listing: Listing) -> str:
    definition = (
        _content_digest(listing.documents),
        f"tokenizer {find_tokenizer(data.tokenizer).definition}",
        f"split {SPLIT_VERSION}, held out {data.held_out_fraction!r}",
    )
    return hashlib.sha256("\n".join(definition).encode()).hexdigest()[:16]


@lru_cache(maxsize=8)
def _content_digest(documents: tuple[Document, ...]) -> str:
    """Hash of names and contents. Remembered, since a sweep may cut one corpus in several ways."""
    digest = hashlib.sha256()
    for document in documents:
        name = document.name.encode("utf-8", "surrogateescape")
        digest.update(f"{len(name)} {document.size} ".encode() + name)
        digest.update(read_document(document))
    return digest.hexdigest()


def _split(data: DataSpec, listing: Listing) -> tuple[int, ...]:
    documents = listing.documents
    return split_corpus(
        [document.name for document in documents],
        sizes=[document.size for document in documents],
        read=lambda i: read_document(documents[i]),
        held_out_fraction=data.held_out_fraction,
    )


@dataclass(frozen=True, kw_only=True)
class _Extract:
    """The part of a file that is on one side of the split."""

    document: Document
    start: int
    stop: int

    def read(self) -> bytes:
        return read_document(self.document)[self.start : self.stop]


def _sides(documents: Sequence[Document], held_out_from: Sequence[int]) -> tuple[list[_Extract], list[_Extract]]:
    """The training part and the held-out part."""
    train, held_out = [], []
    for document, cut in zip(documents, held_out_from, strict=True):
        if cut > 0:
            train.append(_Extract(document=document, start=0, stop=cut))
        if cut < document.size:
            held_out.append(_Extract(document=document, start=cut, stop=document.size))
    return train, held_out


def _build(data: DataSpec, listing: Listing, root: Path, fingerprint: str, tell: Progress) -> None:
    tokenizer = find_tokenizer(data.tokenizer)
    tell("looking for near-duplicate files", 0.1)
    train, held_out = _sides(listing.documents, _split(data, listing))
    with new_folder(root, fingerprint) as folder:
        tell("writing tokens", 0.4)
        num_train_tokens = _write_tokens(folder / TRAIN_NAME, train, tokenizer=tokenizer)
        num_held_out_tokens = _write_tokens(folder / HELD_OUT_NAME, held_out, tokenizer=tokenizer)
        _check_length(data, listing, train=num_train_tokens, held_out=num_held_out_tokens)
        tell("measuring the overlap of held-out and training text", 0.6)
        overlap = window_overlap((part.read() for part in held_out), train=(part.read() for part in train))
        meta = Meta(
            vocab_size=tokenizer.vocab_size,
            corpus_bytes=listing.num_bytes,
            num_train_tokens=num_train_tokens,
            num_held_out_tokens=num_held_out_tokens,
            held_out_bytes=sum(part.stop - part.start for part in held_out),
            held_out_overlap=overlap,
            num_files=len(listing.documents),
            num_held_out_files=len(held_out),
            is_cut=any(part.start > 0 for part in held_out),
            held_out_files=tuple(_printable(part.document.name) for part in held_out),
        )
        (folder / META_NAME).write_text(json.dumps(meta.model_dump(mode="json"), indent=1), encoding="ascii")
        # A file of the same length but other content would be kept under the wrong name for good.
        _content_digest.cache_clear()
        if _fingerprint(data, _list(data)) != fingerprint:
            raise CorpusError(f"{listing.where} changed while it was read; start again when the text is complete")


def _printable(name: str) -> str:
    """A name with the bytes that are no UTF-8 spelled out: JSON has no place for them."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _write_tokens(path: Path, parts: Iterable[_Extract], *, tokenizer: Tokenizer) -> int:
    dtype = token_dtype(tokenizer.vocab_size)
    separator = np.array([tokenizer.separator], dtype=dtype).tobytes()
    count = 0
    with path.open("wb") as file:
        for part in parts:
            tokens = tokenizer.encode(part.read()).astype(dtype, copy=False)
            file.write(separator)
            file.write(tokens.tobytes())
            count += 1 + len(tokens)
    return count


def _count_tokens(parts: Iterable[_Extract], *, tokenizer: Tokenizer) -> int:
    return sum(1 + len(tokenizer.encode(part.read())) for part in parts)


def _check_length(data: DataSpec, listing: Listing, *, train: int, held_out: int) -> None:
    """Check that both sides have at least one sequence and the target of its last position."""
    needed = data.seq_len + 1
    if train >= needed and held_out >= needed:
        return
    remedies = ["give more text"]
    if held_out < needed:
        remedies.append(f"raise data.held_out_fraction above {data.held_out_fraction:g}")
    if (longest := min(train, held_out) - 1) >= 2:
        remedies.append(f"lower data.seq_len to at most {longest}")
    count = len(listing.documents)
    raise CorpusError(
        f"{listing.where} is too short: its {listing.num_bytes} bytes in {count} {'file' if count == 1 else 'files'} "
        f"give {train} tokens to train on and {held_out} held out, and each side needs at least {needed}, a sequence "
        f"of data.seq_len {data.seq_len} and the token after it; {', or '.join(remedies)}"
    )
