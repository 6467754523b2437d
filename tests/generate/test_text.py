from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import models, pre_tokenizers

from switchbench.data.tokenizers import BYTES, open_tokenizer
from switchbench.errors import UsageError
from switchbench.generate.checkpoint import open_checkpoint
from switchbench.generate.text import ByteText, encode_prompt, growing_text, printable, token_text
from tests.generate.conftest import Trained


@given(st.binary(max_size=60), st.integers(0, 60))
def test_bytes_in_any_pieces_are_the_text_of_all_of_them(content: bytes, prompt: int) -> None:
    whole, begun, growing = ByteText(), ByteText(), ByteText()
    growing.begin(content[:prompt])
    pieces = "".join(growing.add([byte]) for byte in content[prompt:]) + growing.end()
    assert whole.add(content) + whole.end() == content.decode(errors="backslashreplace")
    known = begun.add(content[:prompt])
    assert known + pieces == content.decode(errors="backslashreplace")


@pytest.mark.parametrize("text", ["näh7 木\nnäh8 木", "🙂🙂 ab", "", " spaces  first", "zzz\ufffdb"])
def test_subwords_in_any_pieces_are_the_text_of_all_of_them(trained: Trained, text: str) -> None:
    """The vocabulary has no token for most of these letters: each of their bytes is one."""
    checkpoint = open_checkpoint(trained.run_id("subwords"), results=trained.root, device="cpu")
    tokenizer, path = checkpoint.tokenizer, checkpoint.tokenizer_path
    assert path is not None
    (tokens,) = tokenizer.encode([text.encode()])
    growing = growing_text(tokenizer, tokenizer_path=path)
    growing.begin([tokenizer.separator])
    pieces = [growing.add([token]) for token in tokens.tolist()]
    assert "".join(pieces) + growing.end() == text
    assert "\ufffd" not in "".join(pieces).replace("zzz\ufffd", "")


def test_bytes_that_never_make_a_letter_are_not_waited_for(trained: Trained) -> None:
    checkpoint = open_checkpoint(trained.run_id("subwords"), results=trained.root, device="cpu")
    ((first, *_),) = (tokens.tolist() for tokens in checkpoint.tokenizer.encode(["🙂".encode()]))
    growing = growing_text(checkpoint.tokenizer, tokenizer_path=checkpoint.tokenizer_path)
    assert sum(len(growing.add([first])) for _ in range(40)) >= 36


def test_a_prompt_begins_a_document() -> None:
    assert encode_prompt("aé", tokenizer=BYTES, tokenizer_path=None) == [0, 97, 195, 169]
    assert encode_prompt("", tokenizer=BYTES, tokenizer_path=None) == [0]
    # A byte that is no UTF-8 comes from a shell as a surrogate.
    assert encode_prompt("a\udcff", tokenizer=BYTES, tokenizer_path=None) == [0, 97, 255]


@pytest.mark.parametrize("unknown", ["<unk>", None])
def test_words_that_a_vocabulary_lacks(tmp_path: Path, unknown: str | None) -> None:
    vocabulary = {"<eos>": 0, "cat": 1, "dog": 2} | ({unknown: 3} if unknown else {})
    options = {"unk_token": unknown} if unknown else {}
    library = Library(models.WordLevel(vocabulary, **options))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    path = tmp_path / "tokenizer.json"
    library.save(str(path))
    tokenizer = open_tokenizer(path)
    assert encode_prompt("cat dog", tokenizer=tokenizer, tokenizer_path=path) == [0, 1, 2]
    with pytest.raises(UsageError, match="no token for: 'cow'" if unknown else "cannot be put into tokens"):
        encode_prompt("cat cow dog", tokenizer=tokenizer, tokenizer_path=path)


def test_nothing_that_commands_a_terminal_is_printed() -> None:
    assert printable("a\x1b[31mb\rc\u202ed\te\n\udcff") == "a\\x1b[31mb\\rc\\u202ed\te\n\\udcff"
    assert printable("näh 木 🙂 \ufffd") == "näh 木 🙂 \ufffd"
    assert [token_text(token, tokenizer=BYTES) for token in (0, 97, 195)] == ["(new document)", "a", "\\xc3"]
