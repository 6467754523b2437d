"""The building of a prepared corpus: the text of both parts, whichever corpus it is of, and the tokens made from it."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from switchbench.data.cache import HELD_OUT_NAME, TOKENIZER_NAME, TRAIN_NAME, Meta, checksums
from switchbench.data.files import Document, Listing, text_of, unpack_documents
from switchbench.data.hub import read_hub
from switchbench.data.overlap import window_overlap
from switchbench.data.rows import read_rows
from switchbench.data.split import split_corpus
from switchbench.data.spool import split_rows
from switchbench.data.subwords import learn_byte_pairs, tokenizer_file_path
from switchbench.data.texts import FileText, Text
from switchbench.data.token_files import write_tokens
from switchbench.data.tokenizers import Tokenizer, open_tokenizer
from switchbench.data.zipf_markov import generator_of, num_held_out_documents
from switchbench.spec import DataSpec

Progress = Callable[[str, float], None]
"""Takes what is being done, in words, and how far the whole preparation is, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The text of a corpus, in two parts that can be read again and again."""

    train: Iterable[Text]
    """Documents of the training part, or what is trained on of them."""
    held_out: Iterable[Text]
    """Documents of the held-out part."""
    train_bytes: int
    """Bytes of the training part."""
    held_out_bytes: int
    """Bytes of the held-out part."""
    num_documents: int
    """Documents in either part."""
    num_held_out_documents: int
    """Documents with held-out text."""
    is_cut: bool = False
    """Whether the held-out text is the ends of documents that are trained on."""
    held_out_names: tuple[str, ...] = ()
    """Names of the files with held-out text; rows have none."""
    left_out: str = ""
    """What was left out, in words."""


def parts_of_files(listing: Listing, data: DataSpec) -> Parts:
    """Split the files of a corpus: whole files, or the ends of files that are too large.

    Raises:
        CorpusError: a file cannot be read, or has changed since it was listed.
    """
    documents = listing.documents
    cuts = split_corpus(
        [document.name for document in documents],
        sizes=[document.size for document in documents],
        read=lambda i: text_of(documents[i]),
        held_out_fraction=data.held_out_fraction,
    )
    ends = [(document, cut) for document, cut in zip(documents, cuts, strict=True) if cut < document.size]
    held_out_bytes = sum(document.size - cut for document, cut in ends)
    return Parts(
        train=[FileText(document.path, 0, cut) for document, cut in zip(documents, cuts, strict=True) if cut > 0],
        held_out=[FileText(document.path, cut, document.size) for document, cut in ends],
        train_bytes=listing.num_bytes - held_out_bytes,
        held_out_bytes=held_out_bytes,
        num_documents=len(documents),
        num_held_out_documents=len(ends),
        is_cut=any(cut > 0 for _, cut in ends),
        held_out_names=tuple(_printable(document.name) for document, _ in ends),
    )


def parts_of_rows(
    rows: Iterable[Text], data: DataSpec, *, folder: Path, expected_bytes: int | None, tell: Progress
) -> Parts:
    """Write down the rows of a corpus, each in its part.

    Args:
        rows: The documents.
        data: The corpus.
        folder: Takes them.
        expected_bytes: About how much text there is, for the progress; None: nobody knows.
        tell: Told how many there are so far.

    Raises:
        CorpusError: a row cannot be read.
        OSError: the folder cannot be written.
    """

    def advance(num_bytes: int) -> None:
        share = min(num_bytes / expected_bytes, 1.0) if expected_bytes else 0.0
        tell(f"reading text: {num_bytes / 1e6:,.0f} MB", 0.3 * share)

    split = split_rows(rows, folder=folder, held_out_fraction=data.held_out_fraction, tell=advance)
    binary = "document" if split.num_binary == 1 else "documents"
    return Parts(
        train=split.train,
        held_out=split.held_out,
        train_bytes=split.num_bytes - split.held_out_bytes,
        held_out_bytes=split.held_out_bytes,
        num_documents=split.num_documents,
        num_held_out_documents=split.num_held_out_documents,
        left_out=f"{split.num_binary:,} {binary} with zero bytes in them" if split.num_binary else "",
    )


def gather_parts(
    listing: Listing | None, data: DataSpec, *, folder: Path, revision: str | None, tell: Progress
) -> Parts:
    """Gather the text of a corpus of files, of rows, or of a data set.

    Args:
        listing: The files; None: it is a data set.
        data: The corpus.
        folder: Takes what must be unpacked.
        revision: Commit of a data set on the Hub.
        tell: Told what is being done.

    Raises:
        CorpusError: something cannot be read, or has changed since it was listed.
        OSError: the folder cannot be written.
    """
    if listing is None:
        rows = read_hub(data, revision=revision)
        return parts_of_rows(rows, data, folder=folder, expected_bytes=data.max_bytes, tell=tell)
    plain = unpack_documents(listing.documents, folder=folder)
    if listing.has_rows:
        texts = _rows_of(plain, column=data.column)
        return parts_of_rows(texts, data, folder=folder, expected_bytes=listing.num_bytes, tell=tell)
    tell("looking for near-duplicate files", 0.1)
    return parts_of_files(Listing(where=listing.where, documents=plain), data)


def build_from_text(parts: Parts, data: DataSpec, *, folder: Path, revision: str | None, tell: Progress) -> Meta:
    """Tokenize both parts of a text.

    Args:
        parts: The text.
        data: The corpus.
        folder: Takes the tokens, and the tokenizer where it is a file.
        revision: Commit of a data set on the Hub.
        tell: Told what is being done.

    Returns:
        What is known of them.

    Raises:
        CorpusError: the text changed meanwhile, or is too little for the tokenizer.
        OSError: the folder cannot be written.
    """
    tokenizer = _make_tokenizer(parts, data, path=folder / TOKENIZER_NAME, tell=tell)
    num_bytes = parts.train_bytes + parts.held_out_bytes
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        tell("writing tokens", 0.4 + 0.4 * done / num_bytes)

    tell("writing tokens", 0.4)
    train, held_out = (
        write_tokens(folder / name, texts, tokenizer=tokenizer, advance=advance)
        for name, texts in ((TRAIN_NAME, parts.train), (HELD_OUT_NAME, parts.held_out))
    )
    tell("measuring the overlap of held-out and training text", 0.8)
    return Meta(
        vocab_size=tokenizer.vocab_size,
        corpus_bytes=num_bytes,
        num_train_tokens=train.num_tokens,
        num_held_out_tokens=held_out.num_tokens,
        held_out_bytes=parts.held_out_bytes,
        held_out_overlap=window_overlap(parts.held_out, train=parts.train),
        num_files=parts.num_documents,
        num_held_out_files=parts.num_held_out_documents,
        is_cut=parts.is_cut,
        held_out_files=parts.held_out_names,
        left_out=parts.left_out,
        invalid_bytes=train.invalid_bytes + held_out.invalid_bytes,
        invalid_documents=train.invalid_documents + held_out.invalid_documents,
        nll_floor=None,
        revision=revision,
        checksums=checksums(folder),
    )


def build_generated(data: DataSpec, *, folder: Path, tell: Progress) -> Meta:
    """Generate a text of known entropy; its last documents are held out.

    Args:
        data: The corpus.
        folder: Takes the tokens.
        tell: Told how far it is.

    Raises:
        OSError: the folder cannot be written.
    """
    generator = generator_of(data)
    num_held_out = num_held_out_documents(data)
    num_train = data.num_documents - num_held_out
    count, nll = 0, 0.0
    for name, first, last in ((TRAIN_NAME, 0, num_train), (HELD_OUT_NAME, num_train, data.num_documents)):
        nll = 0.0
        with (folder / name).open("wb") as file:
            for documents, chunk_nll in generator.documents(first=first, last=last):
                file.write(documents.tobytes())
                nll += chunk_nll
                count += len(documents)
                tell("generating text", count / data.num_documents)
    return Meta(
        vocab_size=generator.vocab_size,
        corpus_bytes=0,
        num_train_tokens=num_train * generator.document_tokens,
        num_held_out_tokens=num_held_out * generator.document_tokens,
        held_out_bytes=0,
        held_out_overlap=0.0,  # drawn independently
        num_files=data.num_documents,
        num_held_out_files=num_held_out,
        is_cut=False,
        held_out_files=(),
        left_out="",
        invalid_bytes=0,
        invalid_documents=0,
        nll_floor=nll / (num_held_out * generator.seq_len),
        revision=None,
        checksums=checksums(folder),
    )


def _make_tokenizer(parts: Parts, data: DataSpec, *, path: Path, tell: Progress) -> Tokenizer:
    if data.tokenizer == "bytes":
        return open_tokenizer(None)
    if data.tokenizer == "bpe":
        tell("learning byte pairs", 0.3)
        learn_byte_pairs(parts.train, num_bytes=parts.train_bytes, vocab_size=data.bpe_vocab_size, path=path)
    else:
        assert data.tokenizer_path is not None, "checked by the specification"
        shutil.copyfile(tokenizer_file_path(data.tokenizer_path), path)
    return open_tokenizer(path)


def _rows_of(documents: Iterable[Document], *, column: str) -> Iterator[Text]:
    for document in documents:
        if document.is_rows:
            yield from read_rows(document.path, column=column)
        else:
            yield text_of(document)


def _printable(name: str) -> str:
    """A name with the bytes that are no UTF-8 spelled out: JSON has no place for them."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
