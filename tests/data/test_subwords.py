"""Byte pairs and tokenizer files: what is learned and from what, what enters the identity, and comparable bits."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from pydantic import ValidationError

from switchbench.data import subwords
from switchbench.data.corpora import PreparedCorpus, doubts_about, identify_corpus, prepare_corpus, read_tokens
from switchbench.data.texts import pieces
from switchbench.data.tokenizers import open_tokenizer
from switchbench.errors import CorpusError
from switchbench.spec import DataSpec

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "while",
    "seven",
    "curious",
    "birds",
    "watched",
    "from",
    "trees",
    "naïve",
]


def sentence(seed: int, *, count: int = 120) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=count)) + f"\nNumber {seed}.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "text"
    root.mkdir()
    for i in range(50):
        (root / f"{i:02}.txt").write_text(sentence(i), encoding="utf-8")
    return root


def spec(folder: Path, **fields: Any) -> DataSpec:
    default = {"tokenizer": "bpe", "bpe_vocab_size": 300, "held_out_fraction": 0.1, "seq_len": 16}
    return DataSpec(corpus="text", path=str(folder), **(default | fields))


def word_level(path: Path, words: list[str]) -> Path:
    """A tokenizer of whole words, which `tokenizers` writes, without a separator of its own."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(["[UNK]", *words])}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(path))
    return path


def text_of(corpus: PreparedCorpus, path: Path) -> list[str]:
    """The documents, from their tokens."""
    tokenizer = open_tokenizer(corpus.tokenizer_path)
    tokens = read_tokens(path, vocab_size=corpus.vocab_size)
    starts = np.flatnonzero(tokens == tokenizer.separator)
    assert starts[0] == 0
    return [tokenizer.decode(document.tolist()).decode() for document in np.split(tokens, starts[1:])]


def test_tokens_give_the_text_back(folder: Path, tmp_path: Path):
    (folder / "50.txt").write_text("A separator that is spelled out, <|endoftext|>, is text.\n\n\tLike all else.  ")
    corpus = prepare_corpus(spec(folder), cache_root=tmp_path / "cache")
    documents = [text_of(corpus, path) for path in (corpus.train_tokens_path, corpus.held_out_tokens_path)]
    assert sorted(documents[0] + documents[1]) == sorted(path.read_text("utf-8") for path in folder.iterdir())
    assert corpus.vocab_size == identify_corpus(spec(folder)).vocab_size == 300
    assert corpus.held_out_bytes == sum(len(text.encode()) for text in documents[1])
    assert corpus.num_held_out_tokens < corpus.held_out_bytes / 1.5


def test_only_the_training_part_is_learned_from(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    learned: list[str] = []
    learn = subwords._sample

    def listen(texts: Any, *, num_bytes: int) -> Any:
        for piece in learn(texts, num_bytes=num_bytes):
            learned.append(piece)
            yield piece

    monkeypatch.setattr(subwords, "_sample", listen)
    corpus = prepare_corpus(spec(folder), cache_root=tmp_path / "cache")
    assert sorted(learned) == sorted(text_of(corpus, corpus.train_tokens_path))


def test_of_much_text_a_sample_from_all_of_it_is_learned_from(monkeypatch: pytest.MonkeyPatch):
    texts = [sentence(i).encode() for i in range(60)]
    num_bytes = sum(map(len, texts))
    assert list(subwords._sample(texts, num_bytes=num_bytes)) == [text.decode() for text in texts]
    monkeypatch.setattr(subwords, "LEARNED_FROM_BYTES", num_bytes // 10)
    sample = list(subwords._sample(texts, num_bytes=num_bytes))
    assert sample == [texts[i].decode() for i in range(0, 60, 11)]


def test_the_same_text_gives_the_same_tokens_in_any_process(folder: Path, tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from switchbench.data.corpora import prepare_corpus\n"
        "from switchbench.spec import DataSpec\n"
        "corpus = prepare_corpus(DataSpec.model_validate_json(sys.argv[1]), cache_root=Path(sys.argv[2]))\n"
        "print(corpus.tokenizer_path, corpus.train_tokens_path)"
    )
    found = []
    for number, parallel in enumerate(["true", "false"]):
        command = [sys.executable, "-c", script, spec(folder).model_dump_json(), str(tmp_path / str(number))]
        environment = os.environ | {"TOKENIZERS_PARALLELISM": parallel, "PYTHONHASHSEED": str(number)}
        names = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()
        found.append([Path(name).read_bytes() for name in names])
    assert found[0] == found[1]


def test_bits_per_byte_of_an_even_guess_are_comparable(folder: Path, tmp_path: Path):
    # A model that knows nothing needs log2 V bits for a token, whatever the tokens are: fewer tokens, fewer bits.
    by_bytes = prepare_corpus(spec(folder, tokenizer="bytes", bpe_vocab_size=4096), cache_root=tmp_path / "cache")
    by_pairs = prepare_corpus(spec(folder), cache_root=tmp_path / "cache")
    assert by_bytes.held_out_bytes == by_pairs.held_out_bytes
    assert by_bytes.num_held_out_files == by_pairs.num_held_out_files
    bits = [np.log2(c.vocab_size) * c.num_held_out_tokens / c.held_out_bytes for c in (by_bytes, by_pairs)]
    assert bits[0] == pytest.approx(8, rel=0.01)
    assert bits[1] < 0.7 * bits[0]


def test_too_little_text_for_the_vocabulary_is_said(folder: Path, tmp_path: Path):
    with pytest.raises(
        CorpusError,
        match=r"too few byte pairs for data\.bpe_vocab_size 4096; lower it to at most \d+, or give more text",
    ):
        prepare_corpus(spec(folder, bpe_vocab_size=4096), cache_root=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_tokenizer_file_is_its_content(folder: Path, tmp_path: Path):
    file = word_level(tmp_path / "tokenizer.json", WORDS)
    by_words = spec(folder, tokenizer="file", tokenizer_path=str(file), bpe_vocab_size=4096)
    identity = identify_corpus(by_words)
    corpus = prepare_corpus(by_words, cache_root=tmp_path / "cache")
    assert corpus.vocab_size == identity.vocab_size == len(WORDS) + 2, "the words, [UNK], and a separator behind them"
    assert open_tokenizer(corpus.tokenizer_path).separator == len(WORDS) + 1
    tokens = read_tokens(corpus.train_tokens_path, vocab_size=corpus.vocab_size)
    assert int(tokens.max()) == len(WORDS) + 1
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    os.rename(file, moved / "tokenizer.json")
    assert identify_corpus(by_words.model_copy(update={"tokenizer_path": str(moved)})) == identity, "a folder will do"
    word_level(moved / "tokenizer.json", WORDS[::-1])
    assert identify_corpus(by_words.model_copy(update={"tokenizer_path": str(moved)})) != identity


def test_a_separator_that_the_file_has_is_used(tmp_path: Path):
    assert subwords.load_subwords(word_level(tmp_path / "t.json", ["</s>", "a"])).separator == 1
    assert subwords.load_subwords(word_level(tmp_path / "t.json", ["a"])).vocab_size == 3


@pytest.mark.parametrize("content", [None, "", "{}", json.dumps({"model": {"type": "BPE"}}), "\x00"])
def test_what_is_no_tokenizer_is_said(content: str | None, folder: Path, tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        CorpusError, match=r"cannot use the tokenizer '.*tokenizer\.json': .*; give data\.tokenizer_path"
    ):
        identify_corpus(spec(folder, tokenizer="file", tokenizer_path=str(path), bpe_vocab_size=4096))


def test_without_the_library_it_is_said_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(CorpusError, match=r"data\.tokenizer 'bpe' needs the library tokenizers.*switchbench\[hf\]"):
        identify_corpus(spec(folder))


def test_what_is_no_utf8_becomes_a_mark_and_is_counted(folder: Path, tmp_path: Path):
    (folder / "00.txt").write_bytes(b"caf\xe9 " + sentence(0).encode())
    corpus = prepare_corpus(spec(folder), cache_root=tmp_path / "cache")
    (doubt,) = doubts_about(corpus, name="books")
    assert doubt == "bytes that are no UTF-8, read as U+FFFD: 1 in 1 document of books"
    parts = [text_of(corpus, path) for path in (corpus.train_tokens_path, corpus.held_out_tokens_path)]
    assert "caf\ufffd " + sentence(0) in parts[0] + parts[1]


def test_a_line_of_any_length_is_tokenized_in_pieces(tmp_path: Path):
    line = ("wörd " * 600_000).encode()
    (tmp_path / "line.txt").write_bytes(line)
    data = spec(tmp_path / "line.txt", bpe_vocab_size=262, held_out_fraction=0.01)
    corpus = prepare_corpus(data, cache_root=tmp_path / "cache")
    (train,), (held_out,) = (text_of(corpus, path) for path in (corpus.train_tokens_path, corpus.held_out_tokens_path))
    assert (train + held_out).encode() == line
    assert corpus.invalid_bytes == 0, "no character is cut in two"
    cut = list(pieces(line))
    assert b"".join(cut) == line
    assert len(cut) == 4
    assert all(piece.startswith(b" ") for piece in cut[1:]), "before a word"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tokenizer": "bytes"}, "`bpe_vocab_size` goes with tokenizer 'bpe', not with 'bytes'"),
        ({"tokenizer_path": "t.json"}, "`tokenizer_path` goes with tokenizer 'file', not with 'bpe'"),
        ({"tokenizer": "file", "bpe_vocab_size": 4096}, "tokenizer 'file' needs `tokenizer_path`"),
    ],
)
def test_fields_that_do_not_go_together(fields: dict[str, Any], message: str, folder: Path):
    with pytest.raises(ValidationError) as refused:
        spec(folder, **fields)
    assert message in str(refused.value)
