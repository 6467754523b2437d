"""Tokens that are parts of words, by Hugging Face `tokenizers`: learned from the text, or from a tokenizer.json."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from switchbench.data.texts import Text, decode, pieces
from switchbench.errors import CorpusError

SEPARATOR = "<|endoftext|>"
"""The separator of a vocabulary that is learned; its token is 0."""

_SEPARATORS = (SEPARATOR, "<|end_of_text|>", "</s>", "<eos>", "[SEP]", "<s>", "<bos>", "[CLS]")
"""Special tokens of other vocabularies that can separate documents, the first that is there."""

LEARNED_FROM_BYTES = 2**25
"""Byte pairs are learned from about this much of the training text at most, spread evenly over it."""

BPE_DEFINITION = f"byte-level byte pairs 1, learned from {LEARNED_FROM_BYTES} bytes of the training part"
"""What decides the byte pairs, but for the vocabulary's size; part of the fingerprint."""

_SAMPLE_BYTES = 2**16


@dataclass(frozen=True, kw_only=True)
class Subwords:
    """A vocabulary of parts of words."""

    vocab_size: int
    """Vocabulary, V; the separator is one of it."""
    separator: int
    """Token that stands before every document."""
    library: Any
    """The library's tokenizer."""

    def encode(self, texts: Sequence[bytes]) -> Iterator[list[int]]:
        """Tokens of each text; what is no UTF-8 becomes U+FFFD."""
        # The fast way leaves out where in the text a token stands, which nobody asks for.
        batch = self.library.encode_batch_fast([decode(text)[0] for text in texts], add_special_tokens=False)
        return (encoding.ids for encoding in batch)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, without the separator."""
        kept = [int(token) for token in tokens if token != self.separator]
        return str(self.library.decode(kept, skip_special_tokens=False))


def require_library(what: str) -> Any:
    """Import Hugging Face `tokenizers`.

    Args:
        what: What needs it, for the message.

    Raises:
        CorpusError: it is not installed.
    """
    try:
        import tokenizers  # an extra
    except ImportError:
        raise CorpusError(
            f"{what} needs the library tokenizers, which is not installed; "
            "install it with `pip install 'switchbench[hf]'`, or use data.tokenizer 'bytes'"
        ) from None
    return tokenizers


def learn_byte_pairs(texts: Iterable[Text], *, num_bytes: int, vocab_size: int, path: Path) -> None:
    """Learn byte pairs (Sennrich et al. 2016, on bytes as in GPT-2) and write them as a tokenizer.json.

    The same text gives the same pairs.

    Args:
        texts: The training text.
        num_bytes: Its length.
        vocab_size: Vocabulary, V: 256 bytes, the separator, and pairs.
        path: The file to be written.

    Raises:
        CorpusError: there are not so many different pairs in the text.
    """
    library = require_library("data.tokenizer 'bpe'")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[SEPARATOR],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(texts, num_bytes=num_bytes), trainer=trainer)
    if (learned := tokenizer.get_vocab_size()) < vocab_size:
        raise CorpusError(
            f"the training text has too few byte pairs for data.bpe_vocab_size {vocab_size}; "
            f"lower it to at most {learned}, or give more text"
        )
    path.write_text(tokenizer.to_str(), encoding="utf-8")


def load_subwords(path: Path) -> Subwords:
    """Load a tokenizer.json.

    Raises:
        CorpusError: it cannot be read, is none, or the library is missing.
    """
    library = require_library(f"the tokenizer {str(path)!r}")
    try:
        tokenizer = library.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except Exception as error:  # the library raises nothing narrower
        raise _unreadable(path, f"it is no tokenizer ({error})") from error
    tokenizer.encode_special_tokens = True  # a separator spelled out in the text is text
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.get_vocab(with_added_tokens=True)
    largest = max(ids.values(), default=-1)
    separator = next((ids[name] for name in _SEPARATORS if name in ids), largest + 1)
    return Subwords(vocab_size=max(largest, separator) + 1, separator=separator, library=tokenizer)


def tokenizer_file_path(path: str) -> Path:
    """The tokenizer.json that is meant: the file, or the one in the folder."""
    given = Path(os.path.expanduser(path))
    return given / "tokenizer.json" if given.is_dir() else given


def tokenizer_file_definition(path: Path) -> str:
    """What decides the tokens of a tokenizer.json: its content.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        return f"tokenizer.json {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _sample(texts: Iterable[Text], *, num_bytes: int) -> Iterator[str]:
    """Every so manieth piece of the texts."""
    every, number = max(1, -(-num_bytes // LEARNED_FROM_BYTES)), 0
    for text in texts:
        for piece in pieces(text, most_bytes=_SAMPLE_BYTES):
            if number % every == 0:
                yield decode(piece)[0]
            number += 1


def _unreadable(path: Path, reason: str) -> CorpusError:
    return CorpusError(
        f"cannot use the tokenizer {str(path)!r}: {reason}; "
        "give data.tokenizer_path a tokenizer.json as Hugging Face's tokenizers write it"
    )
