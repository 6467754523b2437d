"""Classes of tokens by their text: what an expert may specialize in, coarse enough to be read."""

import string

import numpy as np
import numpy.typing as npt

from switchbench.data.tokenizers import Tokenizer

TOKEN_CLASSES = ("letters", "digits", "whitespace", "newline", "punctuation", "non-ASCII", "mixed", "other")
"""The classes. Spaces around a word do not count; ``mixed`` is of several classes, ``other`` the separator, control
characters, and tokens without text."""
_OF_CHARACTER = {
    **dict.fromkeys(string.ascii_letters, "letters"),
    **dict.fromkeys(string.digits, "digits"),
    **dict.fromkeys(string.punctuation, "punctuation"),
}
_SPACES = b" \t\v\f"
_LINE_ENDS = b"\n\r"


def class_of(text: bytes) -> str:
    """Give the class of a token's text.

    >>> [class_of(text) for text in (b"e", b" the", b"3", b"  ", b"\\n    ", b"):", b"x1", b"\\xc3", b"\\0", b"")]
    ['letters', 'letters', 'digits', 'whitespace', 'newline', 'punctuation', 'mixed', 'non-ASCII', 'other', 'other']
    """
    if not text:
        return "other"
    core = text.strip(_SPACES + _LINE_ENDS)
    if not core:
        return "newline" if any(byte in _LINE_ENDS for byte in text) else "whitespace"
    if not core.isascii():
        return "non-ASCII"
    found = {_OF_CHARACTER.get(chr(byte), "other") for byte in core}
    return found.pop() if len(found) == 1 else "mixed"


def classes_of_tokens(tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """Give the class of every token of a vocabulary, as its place in ``TOKEN_CLASSES``.

    Args:
        tokenizer: The tokenizer.
    """
    classes = [
        "other" if token == tokenizer.separator else class_of(tokenizer.decode([token]))
        for token in range(tokenizer.vocab_size)
    ]
    return np.array([TOKEN_CLASSES.index(name) for name in classes], dtype=np.int64)
