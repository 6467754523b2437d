"""Tokenizers: what a token is. A tokenizer is a record, so that corpora and batches need to know no kind by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, assert_never

import numpy as np
import numpy.typing as npt

from switchbench.data.subwords import (
    BPE_DEFINITION,
    Subwords,
    load_subwords,
    require_library,
    tokenizer_file_definition,
    tokenizer_file_path,
)
from switchbench.spec import DataSpec

Tokens = npt.NDArray[np.unsignedinteger[Any]]
"""Token ids, one-dimensional, in the smallest unsigned type that holds the vocabulary."""


class TokenizerIdentity(NamedTuple):
    """What must be known of a tokenizer before there are tokens."""

    definition: str
    """Everything that decides the tokens, in words or as a hash; part of the corpus's fingerprint."""
    vocab_size: int
    """Vocabulary, V; the separator is one of it."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """How text becomes tokens."""

    vocab_size: int
    """Vocabulary, V; the separator is one of it."""
    separator: int
    """Token that stands before every document."""
    encode: Callable[[Sequence[bytes]], list[Tokens]]
    """Tokens of each piece of text, without separators, in ``token_dtype(vocab_size)``; what is no UTF-8 becomes
    U+FFFD, unless tokens are bytes."""
    decode: Callable[[Sequence[int]], bytes]
    """Text of tokens."""


def identify_tokenizer(data: DataSpec) -> TokenizerIdentity:
    """Say what decides the tokens, and how many there are.

    Raises:
        CorpusError: the tokenizer's file cannot be read, or the library for it is missing.

    >>> identify_tokenizer(DataSpec()).vocab_size
    256
    """
    match data.tokenizer:
        case "bytes":
            return TokenizerIdentity("bytes: one token per byte, byte 0 before every document", 256)
        case "bpe":
            require_library("data.tokenizer 'bpe'")
            return TokenizerIdentity(f"{BPE_DEFINITION}, vocabulary {data.bpe_vocab_size}", data.bpe_vocab_size)
        case "file":
            assert data.tokenizer_path is not None, "checked by the specification"
            path = tokenizer_file_path(data.tokenizer_path)
            return TokenizerIdentity(tokenizer_file_definition(path), load_subwords(path).vocab_size)
        case _:
            assert_never(data.tokenizer)


def open_tokenizer(path: Path | None) -> Tokenizer:
    """Open the tokenizer of a prepared corpus.

    Args:
        path: Its tokenizer.json; None: tokens are bytes.

    Raises:
        CorpusError: the file cannot be read, or the library for it is missing.

    >>> tokens, = open_tokenizer(None).encode(["née".encode()])
    >>> tokens.tolist()
    [110, 195, 169, 101]
    """
    return BYTES if path is None else _of_subwords(load_subwords(path))


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Smallest unsigned integer type, little-endian, that holds every token of a vocabulary.

    >>> token_dtype(256), token_dtype(257), token_dtype(65537)
    (dtype('uint8'), dtype('uint16'), dtype('uint32'))
    """
    if vocab_size <= 2**8:
        return np.dtype("u1")
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")


def _of_subwords(subwords: Subwords) -> Tokenizer:
    dtype = token_dtype(subwords.vocab_size)

    def encode(pieces: Sequence[bytes]) -> list[Tokens]:
        return [np.array(ids, dtype=dtype) for ids in subwords.encode(pieces)]

    return Tokenizer(
        vocab_size=subwords.vocab_size,
        separator=subwords.separator,
        encode=encode,
        decode=lambda tokens: subwords.decode(tokens).encode(),
    )


BYTES = Tokenizer(
    vocab_size=256,
    separator=0,
    encode=lambda pieces: [np.frombuffer(piece, dtype=np.uint8) for piece in pieces],
    decode=bytes,
)
"""The bytes themselves. Any file is valid, whatever its encoding; text has no zero bytes, so zero can separate."""
