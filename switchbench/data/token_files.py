"""Files of tokens: documents tokenized a few megabytes at a time, whatever the length of each and of all of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from switchbench.data.texts import Text, decode, pieces
from switchbench.data.tokenizers import Tokenizer, Tokens, token_dtype

_BATCH_BYTES = 2**22
"""Text that is tokenized at once."""


@dataclass(kw_only=True)
class WrittenTokens:
    """What was written."""

    num_tokens: int = 0
    """Tokens, separators included."""
    invalid_bytes: int = 0
    """Bytes of text that are no UTF-8."""
    invalid_documents: int = 0
    """Documents with such bytes."""


def write_tokens(
    path: Path, texts: Iterable[Text], *, tokenizer: Tokenizer, advance: Callable[[int], None] = lambda count: None
) -> WrittenTokens:
    """Write the tokens of documents, each after a separator; memory grows neither with one nor with all of them.

    Args:
        path: The file.
        texts: The documents.
        tokenizer: Makes the tokens.
        advance: Told the bytes of text that were done.

    Returns:
        The number of tokens, and what was no UTF-8.
    """
    dtype = token_dtype(tokenizer.vocab_size)
    separator: Tokens = np.array([tokenizer.separator], dtype=dtype)
    written = WrittenTokens()
    with path.open("wb") as file:
        for batch in _batches(texts):
            _count_invalid(batch, written)
            stream: list[Tokens] = []
            encoded = tokenizer.encode([piece for piece, _ in batch])
            for (_, is_first), tokens in zip(batch, encoded, strict=True):
                stream += [separator, tokens] if is_first else [tokens]
            together = np.concatenate(stream)
            file.write(together.data)
            written.num_tokens += len(together)
            advance(sum(len(piece) for piece, _ in batch))
    return written


def count_tokens(texts: Iterable[Text], *, tokenizer: Tokenizer) -> int:
    """Count the tokens of documents, separators included."""
    return sum(
        is_first + len(tokens)
        for batch in _batches(texts)
        for (_, is_first), tokens in zip(batch, tokenizer.encode([piece for piece, _ in batch]), strict=True)
    )


def _batches(texts: Iterable[Text]) -> Iterator[list[tuple[bytes, bool]]]:
    """Pieces of documents, each with whether it is the first of its document, as many as are tokenized at once."""
    batch: list[tuple[bytes, bool]] = []
    size = 0
    for text in texts:
        is_first = True
        for piece in pieces(text):
            batch.append((piece, is_first))
            size += len(piece)
            is_first = False
            if size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _count_invalid(batch: list[tuple[bytes, bool]], written: WrittenTokens) -> None:
    is_counted = False
    for piece, is_first in batch:
        is_counted = is_counted and not is_first
        if not piece.isascii() and (invalid := decode(piece)[1]):
            written.invalid_bytes += invalid
            written.invalid_documents += not is_counted
            is_counted = True
