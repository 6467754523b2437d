"""Tokenizers: what a token is. A tokenizer is a record, so that corpora and batches need to know no kind by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.unsignedinteger[Any]]
"""Token ids, one-dimensional, in the smallest unsigned type that holds the vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """How text becomes tokens."""

    name: str
    """Name in a specification."""
    definition: str
    """Everything that decides the tokens, in words or as a hash; part of the corpus's fingerprint."""
    vocab_size: int
    """Vocabulary, V; the separator is one of it."""
    separator: int
    """Token that stands before every document."""
    bytes_per_token: int | None
    """Bytes of text that each token stands for; None where that depends on the text."""
    encode: Callable[[bytes], Tokens]
    """Tokens of one document, without a separator, in ``token_dtype(vocab_size)``."""


def find_tokenizer(name: Literal["bytes"]) -> Tokenizer:
    """Look a tokenizer up by its name.

    >>> find_tokenizer("bytes").encode("née".encode()).tolist()
    [110, 195, 169, 101]
    """
    match name:
        case "bytes":
            return BYTES
        case _:
            assert_never(name)


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Smallest unsigned integer type, little-endian, that holds every token of a vocabulary.

    >>> token_dtype(256), token_dtype(257), token_dtype(65537)
    (dtype('uint8'), dtype('uint16'), dtype('uint32'))
    """
    if vocab_size <= 2**8:
        return np.dtype("u1")
    return np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")


def _encode_bytes(text: bytes) -> Tokens:
    return np.frombuffer(text, dtype=np.uint8)


BYTES = Tokenizer(
    name="bytes",
    definition="bytes: one token per byte, byte 0 before every document",
    vocab_size=256,
    separator=0,
    bytes_per_token=1,
    encode=_encode_bytes,
)
"""The bytes themselves. Any file is valid, whatever its encoding; text has no zero bytes, so zero can separate."""
