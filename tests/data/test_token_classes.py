import pytest

from switchbench.data.token_classes import TOKEN_CLASSES, class_of, classes_of_tokens
from switchbench.data.tokenizers import BYTES


def test_every_byte_has_the_class_that_python_says_it_has() -> None:
    classes = [TOKEN_CLASSES[index] for index in classes_of_tokens(BYTES)]
    assert len(classes) == 256
    for byte, name in enumerate(classes):
        letter = chr(byte)
        expected = (
            "non-ASCII" if byte >= 128
            else "letters" if letter.isalpha()
            else "digits" if letter.isdigit()
            else "newline" if letter in "\n\r"
            else "whitespace" if letter in " \t\v\f"
            else "punctuation" if letter.isprintable()
            else "other"
        )  # fmt: skip
        assert name == expected, byte


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" word", "letters"),
        ("word\n", "letters"),
        (" 42", "digits"),
        ("\t\t", "whitespace"),
        ("\n    ", "newline"),
        (' ("', "punctuation"),
        ("x_1", "mixed"),
        ("été", "non-ASCII"),
        ("\ufffd", "non-ASCII"),
        ("a\x00", "mixed"),
    ],
)
def test_parts_of_words(text: str, name: str) -> None:
    assert class_of(text.encode()) == name
