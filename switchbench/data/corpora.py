"""Corpora: their identity, and the tokens made from them.

``identify_corpus`` needs no tokenizing; ``prepare_corpus`` makes the token arrays once and keeps them (see ``cache``).
The files of each corpus are listed by a function of its own in ``files``; data sets are read in ``hub``.
"""

import hashlib
import json
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from switchbench.data.building import (
    Progress,
    build_from_text,
    build_generated,
    gather_parts,
    parts_of_files,
)
from switchbench.data.cache import (
    META_NAME,
    Meta,
    PreparedCorpus,
    building_lock,
    default_cache_root,
    find_prepared,
    new_folder,
    open_prepared_corpus,
    read_tokens,
)
from switchbench.data.files import Document, Listing, list_python_stdlib, list_text, text_of
from switchbench.data.hub import hub_definition, resolve_revision
from switchbench.data.split import SPLIT_VERSION
from switchbench.data.spool import SPOOL_SPLIT
from switchbench.data.texts import blocks
from switchbench.data.token_files import count_tokens
from switchbench.data.tokenizers import BYTES, identify_tokenizer
from switchbench.data.zipf_markov import generator_fingerprint, generator_of
from switchbench.errors import CorpusError
from switchbench.spec import DataIdentity, DataSpec, RunSpec

__all__ = [
    "PreparedCorpus",
    "check_repetition",
    "doubts_about",
    "identify_corpus",
    "open_prepared_corpus",
    "prepare_corpus",
    "read_tokens",
]


def identify_corpus(data: DataSpec) -> DataIdentity:
    """Find a corpus and compute its identity: a hash of relative paths, bytes, tokenizer definition and split.

    The place of the files on the disk and their times do not enter. Takes about 0.1 s for ten megabytes. The commit of
    a data set on the Hub stands for its bytes.

    Raises:
        CorpusError: the corpus is missing, empty, unreadable, or too short for sequences of ``data.seq_len``; its
            tokenizer cannot be used.
    """
    if data.corpus_kind == "zipf-markov":
        return DataIdentity(fingerprint=generator_fingerprint(data), vocab_size=generator_of(data).vocab_size)
    listing = _list(data)
    is_plain = listing is not None and not listing.is_packed and data.tokenizer == "bytes"
    if listing is not None and is_plain and listing.num_bytes * data.held_out_fraction < 4 * (data.seq_len + 1):
        # Too little to be sure of a sequence on either side of the split, and little enough to find out.
        parts = parts_of_files(listing, data)
        train, held_out = (count_tokens(texts, tokenizer=BYTES) for texts in (parts.train, parts.held_out))
        _check_length(data, listing.where, _in_files(listing), train=train, held_out=held_out)
    vocab_size = identify_tokenizer(data).vocab_size
    return DataIdentity(fingerprint=_fingerprint(data, listing, resolve_revision(data)), vocab_size=vocab_size)


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
    is_generated = data.corpus_kind == "zipf-markov"
    tell("generating text" if is_generated else "reading text", 0.0)
    listing = None if is_generated else _list(data)
    revision = resolve_revision(data)
    fingerprint = generator_fingerprint(data) if is_generated else _fingerprint(data, listing, revision)
    prepared = find_prepared(root, fingerprint, is_read=True)
    if prepared is None:
        waiting = "waiting for another command that prepares this text"
        with building_lock(root, fingerprint, tell=lambda: tell(waiting, 0.0)):
            prepared = find_prepared(root, fingerprint, is_read=True)
            if prepared is None:
                _build(data, listing, root, fingerprint, revision, tell)
                prepared = open_prepared_corpus(fingerprint, cache_root=root)
    train, held_out = prepared.num_train_tokens, prepared.num_held_out_tokens
    amount = _in_files(listing) if listing is not None and not listing.is_packed else _in_documents(prepared)
    _check_length(data, _where(data, listing), amount, train=train, held_out=held_out)
    tell("corpus ready", 1.0)
    skipped = [words for words in (listing.skipped if listing else "", prepared.skipped) if words]
    return replace(prepared, skipped=", ".join(skipped))


def check_repetition(spec: RunSpec, corpus: PreparedCorpus) -> None:
    """Check that a corpus has as much text as a run is to repeat.

    Raises:
        CorpusError: it has less.
    """
    wanted = spec.unique_tokens
    if wanted is not None and wanted > corpus.num_train_tokens - spec.data.seq_len:
        raise CorpusError(
            f"data.repeat {spec.data.repeat:g} of train.tokens {spec.train.tokens} needs {wanted} training tokens, and "
            f"{spec.data.path or spec.data.corpus} has {corpus.num_train_tokens}; raise data.repeat, lower "
            "train.tokens, or give more text"
        )


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
    if corpus.invalid_bytes:
        documents = "1 document" if corpus.invalid_documents == 1 else f"{corpus.invalid_documents:,} documents"
        fate = "kept as they are" if corpus.tokenizer_path is None else "read as U+FFFD"
        doubts.append(f"bytes that are no UTF-8, {fate}: {corpus.invalid_bytes:,} in {documents} of {name}")
    return doubts


def _list(data: DataSpec) -> Listing | None:
    """The files of a corpus; None for a data set, whose library knows its files."""
    match data.corpus_kind:
        case "python-stdlib":
            return list_python_stdlib()
        case "text":
            assert data.path is not None, "checked by the specification"
            listing = list_text(data.path)
            if data.column != "text" and not listing.has_rows:
                raise CorpusError(
                    f"data.column {data.column!r} does nothing: {listing.where} has no .jsonl or .parquet files; "
                    "leave it out"
                )
            return listing
        case _:
            return None


def _where(data: DataSpec, listing: Listing | None) -> str:
    if listing is not None:
        return listing.where
    return f"data.corpus {data.corpus!r}" if data.path is None else f"data.path {data.path!r}"


def _fingerprint(data: DataSpec, listing: Listing | None, revision: str | None) -> str:
    if listing is None:
        content, split = hub_definition(data, revision=revision), SPOOL_SPLIT
    else:
        content, split = _content_digest(listing.documents), str(SPLIT_VERSION)
        if listing.has_rows:
            content, split = f"{content}, column {data.column}", SPOOL_SPLIT
    definition = (
        content,
        f"tokenizer {identify_tokenizer(data).definition}",
        f"split {split}, held out {data.held_out_fraction!r}",
    )
    return hashlib.sha256("\n".join(definition).encode()).hexdigest()[:16]


@lru_cache(maxsize=8)
def _content_digest(documents: tuple[Document, ...]) -> str:
    """Hash of names and contents. Remembered, since a sweep may cut one corpus in several ways."""
    digest = hashlib.sha256()
    for document in documents:
        name = document.name.encode("utf-8", "surrogateescape")
        digest.update(f"{len(name)} {document.size} ".encode() + name)
        for block in blocks(text_of(document)):
            digest.update(block)
    return digest.hexdigest()


def _build(
    data: DataSpec, listing: Listing | None, root: Path, fingerprint: str, revision: str | None, tell: Progress
) -> None:
    with new_folder(root, fingerprint) as folder:
        if data.corpus_kind == "zipf-markov":
            _write_meta(build_generated(data, folder=folder, tell=tell), folder)
            return
        with tempfile.TemporaryDirectory(dir=root, prefix=f".{fingerprint}-text-") as unpacked:
            parts = gather_parts(listing, data, folder=Path(unpacked), revision=revision, tell=tell)
            if parts.num_documents == 0:
                raise CorpusError(f"{_where(data, listing)} has no text in it; give documents that are not empty")
            meta = build_from_text(parts, data, folder=folder, revision=revision, tell=tell)
        amount = f"{meta.corpus_bytes} bytes in {_counted(parts.num_documents, listing)}"
        train, held_out = meta.num_train_tokens, meta.num_held_out_tokens
        _check_length(data, _where(data, listing), amount, train=train, held_out=held_out)
        _write_meta(meta, folder)
        # A file of the same length but other content would be kept under the wrong name for good.
        _content_digest.cache_clear()
        if _fingerprint(data, _list(data), revision) != fingerprint:
            raise CorpusError(
                f"{_where(data, listing)} changed while it was read; start again when the text is complete"
            )


def _write_meta(meta: Meta, folder: Path) -> None:
    (folder / META_NAME).write_text(json.dumps(meta.model_dump(mode="json"), indent=1), encoding="ascii")


def _in_files(listing: Listing) -> str:
    return f"{listing.num_bytes} bytes in {_counted(len(listing.documents), listing)}"


def _in_documents(prepared: PreparedCorpus) -> str:
    return f"{prepared.corpus_bytes} bytes in {_counted(prepared.num_files, None)}"


def _counted(count: int, listing: Listing | None) -> str:
    noun = "file" if listing is not None and not listing.has_rows else "document"
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _check_length(data: DataSpec, where: str, amount: str, *, train: int, held_out: int) -> None:
    """Check that both sides have at least one sequence and the target of its last position."""
    needed = data.seq_len + 1
    if train >= needed and held_out >= needed:
        return
    remedies = ["give more text"]
    if held_out < needed:
        remedies.append(f"raise data.held_out_fraction above {data.held_out_fraction:g}")
    if (longest := min(train, held_out) - 1) >= 2:
        remedies.append(f"lower data.seq_len to at most {longest}")
    raise CorpusError(
        f"{where} is too short: its {amount} give {train} tokens to train on and {held_out} held out, and each side "
        f"needs at least {needed}, a sequence of data.seq_len {data.seq_len} and the token after it; "
        f"{', or '.join(remedies)}"
    )
