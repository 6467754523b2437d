"""From a prompt to tokens, and from tokens to text that grows: also where a letter takes several tokens."""

import codecs
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from switchbench.data.subwords import load_subwords
from switchbench.data.tokenizers import Tokenizer
from switchbench.errors import UsageError

NEW_DOCUMENT = "(new document)"
"""What stands for the separator where tokens are shown one by one."""
LONGEST_LETTER = 4
"""Bytes of a letter at most, and so tokens."""
_UNFINISHED = "\ufffd"
_CHARACTERS_LEFT_AS_THEY_ARE = "\n\t"


def encode_prompt(prompt: str, *, tokenizer: Tokenizer, tokenizer_path: Path | None) -> list[int]:
    """Give the tokens of a document that begins with a prompt: the separator, then the prompt's own.

    Args:
        prompt: As it was typed; what is no UTF-8 stands in it as surrogates, as in the arguments of a process.
        tokenizer: The run's tokenizer.
        tokenizer_path: Its tokenizer.json; None: tokens are bytes.

    Raises:
        UsageError: a part of the prompt has no token.
    """
    content = os.fsencode(prompt)
    try:
        (tokens,) = tokenizer.encode([content])
    except Exception as error:  # the library raises nothing narrower
        raise UsageError(f"--prompt cannot be put into tokens of this run's vocabulary: {error}") from error
    unknown = _unknown_token(tokenizer_path)
    if unknown is not None and unknown in tokens:
        words = [word for word in prompt.split() if unknown in tokenizer.encode([os.fsencode(word)])[0]]
        shown = ", ".join(repr(word) for word in words[:5]) or "a part of it"
        raise UsageError(f"--prompt has what this run's vocabulary has no token for: {shown}; leave it out")
    too_large = [token for token in tokens.tolist() if token >= tokenizer.vocab_size]
    if too_large:
        raise UsageError(
            f"--prompt has token {too_large[0]}, and this run's vocabulary ends at {tokenizer.vocab_size - 1}"
        )
    return [tokenizer.separator, *tokens.tolist()]


def token_text(token: int, *, tokenizer: Tokenizer) -> str:
    """Give the text of a token by itself; bytes that are no letter as ``\\xNN``.

    Args:
        token: The token.
        tokenizer: The run's tokenizer.
    """
    if token == tokenizer.separator:
        return NEW_DOCUMENT
    return tokenizer.decode([token]).decode(errors="backslashreplace")


def printable(text: str) -> str:
    """Write characters that would command a terminal, or be invisible in it, as escapes; line breaks and tabs stay.

    >>> printable("a\\x1b[2Jb\\n")
    'a\\\\x1b[2Jb\\n'
    """
    return "".join(
        each if each.isprintable() or each in _CHARACTERS_LEFT_AS_THEY_ARE else each.encode("unicode_escape").decode()
        for each in text
    )


@dataclass(kw_only=True)
class ByteText:
    """Text of tokens that are bytes; bytes that are no UTF-8 become ``\\xNN`` once it is sure that they are none."""

    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")
    )

    def begin(self, tokens: Sequence[int]) -> None:
        """Take the tokens of the prompt, whose text is known; what follows may end a letter that it began."""
        self._decoder.decode(bytes(tokens))

    def add(self, tokens: Sequence[int]) -> str:
        """Take tokens; give the text that has become certain."""
        return self._decoder.decode(bytes(tokens))

    def end(self) -> str:
        """Give the rest."""
        return self._decoder.decode(b"", final=True)


@dataclass(kw_only=True)
class SubwordText:
    """Text of tokens that are parts of words: where a letter takes several tokens, it waits for the last of them."""

    decode: Callable[[Sequence[int]], bytes]
    """Text of tokens."""
    _tokens: list[int] = field(default_factory=list)
    _context: int = 0
    """From here on, tokens are decoded: what stands before a token decides whether a space begins it."""
    _given: int = 0
    """Tokens whose text was given."""

    def begin(self, tokens: Sequence[int]) -> None:
        """Take the tokens of the prompt, whose text is known."""
        self._tokens += tokens
        self._given = len(self._tokens)

    def add(self, tokens: Sequence[int]) -> str:
        """Take tokens; give the text that has become certain."""
        self._tokens += tokens
        new = self._new()
        if new.endswith(_UNFINISHED) and len(self._tokens) - self._given < LONGEST_LETTER:
            return ""
        self._context, self._given = self._given, len(self._tokens)
        return new

    def end(self) -> str:
        """Give the rest."""
        return self._new()

    def _new(self) -> str:
        before = self.decode(self._tokens[self._context : self._given]).decode()
        return self.decode(self._tokens[self._context :]).decode()[len(before) :]


def growing_text(tokenizer: Tokenizer, *, tokenizer_path: Path | None) -> ByteText | SubwordText:
    """Give what turns a run's tokens into text as they come.

    Args:
        tokenizer: The run's tokenizer.
        tokenizer_path: Its tokenizer.json; None: tokens are bytes.
    """
    return ByteText() if tokenizer_path is None else SubwordText(decode=tokenizer.decode)


def _unknown_token(tokenizer_path: Path | None) -> int | None:
    """The token that stands for everything that a vocabulary lacks; None: it lacks nothing, or says nothing of it."""
    if tokenizer_path is None:
        return None
    library = load_subwords(tokenizer_path).library
    name = getattr(library.model, "unk_token", None)
    return None if name is None else library.token_to_id(name)
