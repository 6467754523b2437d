"""Packed text: compressed files and files of rows give the tokens of their text, or say what is wrong."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from switchbench.data import rows
from switchbench.data.corpora import PreparedCorpus, doubts_about, identify_corpus, prepare_corpus
from switchbench.errors import CorpusError
from switchbench.spec import DataSpec


def stories(count: int, *, first: int = 0) -> list[str]:
    rng = np.random.default_rng(first)
    return [f"Story {first + i}: " + " ".join(map(str, rng.integers(0, 10**6, size=30))) for i in range(count)]


def text_spec(path: Path, **fields: Any) -> DataSpec:
    return DataSpec(corpus="text", path=str(path), **({"held_out_fraction": 0.2, "seq_len": 16} | fields))


def prepare(tmp_path: Path, data: DataSpec) -> PreparedCorpus:
    return prepare_corpus(data, cache_root=tmp_path / "cache")


def documents(corpus: PreparedCorpus) -> tuple[list[bytes], list[bytes]]:
    """Training and held-out documents of a corpus of bytes."""
    parts = (path.read_bytes() for path in (corpus.train_tokens_path, corpus.held_out_tokens_path))
    train, held_out = (part.split(b"\0") for part in parts)
    assert train[0] == held_out[0] == b"", "a separator stands before every document"
    return train[1:], held_out[1:]


def all_documents(corpus: PreparedCorpus) -> list[bytes]:
    train, held_out = documents(corpus)
    return sorted(train + held_out)


def jsonl(texts: Sequence[Any], *, column: str = "text") -> bytes:
    return b"".join(json.dumps({"id": i, column: text}).encode() + b"\n" for i, text in enumerate(texts))


def test_compressed_files_are_split_like_plain_ones(tmp_path: Path):
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.mkdir()
    packed.mkdir()
    for i, text in enumerate(stories(40)):
        (plain / f"{i}.txt").write_text(text)
        if i % 3 == 0:
            (packed / f"{i}.txt").write_text(text)
        elif i % 3 == 1:
            (packed / f"{i}.txt.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (packed / f"{i}.txt.zst").write_bytes(zstandard.compress(text.encode()))
    (packed / "empty.md.gz").write_bytes(gzip.compress(b""))
    (packed / "binary.md.gz").write_bytes(gzip.compress(b"a\0b"))
    (packed / "picture.png.gz").write_bytes(gzip.compress(b"text"))
    corpus = prepare(tmp_path, text_spec(packed))
    assert all_documents(corpus) == all_documents(prepare(tmp_path, text_spec(plain)))
    assert (corpus.num_files, corpus.is_cut) == (40, False)
    assert "1 binary" in corpus.skipped
    assert "1 empty" in corpus.skipped
    assert "1 with other suffixes (.gz)" in corpus.skipped


def test_one_compressed_book_gives_its_end(tmp_path: Path):
    text = "\n".join(stories(300)).encode()
    (tmp_path / "book.txt.gz").write_bytes(gzip.compress(text[:9000]) + gzip.compress(text[9000:]))
    corpus = prepare(tmp_path, text_spec(tmp_path / "book.txt.gz"))
    (train,), (held_out,) = documents(corpus)
    assert train + held_out == text
    assert corpus.is_cut
    assert len(held_out) == pytest.approx(0.2 * len(text), rel=0.05)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_rows_are_documents_whatever_holds_them(suffix: str, tmp_path: Path):
    texts = stories(400)
    path = tmp_path / f"rows{suffix}"
    match suffix:
        case ".jsonl":
            path.write_bytes(jsonl(texts))
        case ".jsonl.gz":
            path.write_bytes(gzip.compress(jsonl(texts)))
        case ".jsonl.zst":
            path.write_bytes(zstandard.compress(jsonl(texts)))
        case ".parquet":
            pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, row_group_size=50)
    corpus = prepare(tmp_path, text_spec(path))
    train, held_out = documents(corpus)
    in_order = [text.encode() for text in texts]
    assert [text for text in in_order if text in set(train)] == train
    assert [text for text in in_order if text in set(held_out)] == held_out
    assert sorted(train + held_out) == sorted(in_order)
    assert 50 < len(held_out) < 110, "80 expected, sd 8"
    assert (corpus.num_files, corpus.num_held_out_files) == (400, len(held_out))
    assert corpus.corpus_bytes == sum(map(len, in_order))
    assert corpus.held_out_bytes == sum(map(len, held_out))
    # Which rows are held out is decided by what they say, not by the file that they came in.
    again = tmp_path / "other.jsonl"
    again.write_bytes(jsonl(texts[::-1]))
    assert set(documents(prepare(tmp_path, text_spec(again)))[1]) == set(held_out)


def test_equal_rows_are_on_one_side(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_bytes(jsonl(stories(100) * 3))
    train, held_out = documents(prepare(tmp_path, text_spec(tmp_path)))
    assert set(train).isdisjoint(held_out)
    assert len(train + held_out) == 300


def test_a_folder_may_mix_rows_with_files(tmp_path: Path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(jsonl(stories(100)))
    (folder / "b.txt").write_text("a file is a document too")
    (folder / "c.md.gz").write_bytes(gzip.compress(b"and so is a packed one"))
    train, held_out = documents(prepare(tmp_path, text_spec(folder)))
    assert len(train + held_out) == 102
    assert {b"a file is a document too", b"and so is a packed one"} <= set(train + held_out)


def test_the_column_is_chosen_and_is_part_of_the_identity(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    pairs = zip(stories(100), stories(100, first=1000), strict=True)
    path.write_text("".join(json.dumps({"text": a, "body": b}) + "\n" for a, b in pairs))
    by_default, other = text_spec(path), text_spec(path, column="body")
    assert identify_corpus(by_default).fingerprint != identify_corpus(other).fingerprint
    assert b"Story 105" in prepare(tmp_path, other).train_tokens_path.read_bytes()
    assert b"Story 105" not in prepare(tmp_path, by_default).train_tokens_path.read_bytes()
    for suffix in (".jsonl", ".parquet"):
        if suffix == ".parquet":
            pq.write_table(pa.table({"text": ["a"], "body": ["b"]}), tmp_path / "rows.parquet")
        with pytest.raises(CorpusError, match=r"has no column 'boody', only 'text', 'body'; set data\.column"):
            prepare(tmp_path, text_spec(tmp_path / f"rows{suffix}", column="boody"))
    (tmp_path / "plain.txt").write_text("x" * 9999)
    with pytest.raises(CorpusError, match=r"data\.column 'body' does nothing"):
        identify_corpus(text_spec(tmp_path / "plain.txt", column="body"))


def test_rows_without_text_are_passed_over_and_binary_ones_counted(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_bytes(jsonl([*stories(100), None, "", "a\0b"]) + b"\n \n")
    corpus = prepare(tmp_path, text_spec(tmp_path / "rows.jsonl"))
    assert corpus.num_files == 100
    assert corpus.skipped == "1 document with zero bytes in them"


def test_what_is_no_utf8_is_kept_and_counted(tmp_path: Path):
    (tmp_path / "t").mkdir()
    for i, text in enumerate(stories(30)):
        (tmp_path / "t" / f"{i}.txt").write_bytes(text.encode() + (b" caf\xe9, \xff\xff" if i < 2 else "é".encode()))
    corpus = prepare(tmp_path, text_spec(tmp_path / "t"))
    assert (corpus.invalid_bytes, corpus.invalid_documents) == (6, 2)
    assert doubts_about(corpus, name="t") == ["bytes that are no UTF-8, kept as they are: 6 in 2 documents of t"]
    raw = b'{"text": "caf\xe9 ' + b"x" * 500 + b'"}\n{"text": "half a character: \\ud800"}\n'
    (tmp_path / "rows.jsonl").write_bytes(raw + jsonl(stories(100)))
    corpus = prepare(tmp_path, text_spec(tmp_path / "rows.jsonl"))
    assert (corpus.invalid_bytes, corpus.invalid_documents) == (1 + 3, 2)
    assert b"caf\xe9 " in b"".join(all_documents(corpus))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text"\n', r"line 2 of '.*a\.jsonl' is no JSON: .*one object in each line"),
        ("a.jsonl", b'["x"]\n', r"line 1 of '.*' is list, not an object with a column 'text'"),
        (
            "a.jsonl",
            b'{"text": 3}\n',
            r"line 1 of '.*' has int in the column 'text', which must be text; .* data\.column",
        ),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 99)[:-9], r"a\.jsonl\.gz' is damaged: .*; get it again"),
        ("a.jsonl.gz", b'{"text": "x"}\n', r"a\.jsonl\.gz' is damaged: Not a gzipped file"),
        ("a.jsonl.zst", b'{"text": "x"}\n', r"a\.jsonl\.zst' is damaged: "),
        ("a.txt.zst", b"no such thing", r"a\.txt\.zst' is damaged: "),
        ("a.parquet", b"PAR1 and nothing else", r"a\.parquet' is damaged: "),
        ("a.jsonl", b'{"text": ""}\n', r"a\.jsonl' has no text in it; give documents that are not empty"),
        ("a.jsonl", b'{"text": "x"}\n', r"is too short: its 1 bytes in 1 document give"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name: str, content: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        prepare(tmp_path, text_spec(tmp_path / name))
    cache = tmp_path / "cache"
    assert not cache.exists() or list(cache.iterdir()) == []


def test_a_line_too_long_for_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "LONGEST_LINE_BYTES", 1000)
    (tmp_path / "a.jsonl").write_bytes(jsonl(["x" * 900, "y" * 1000]))
    with pytest.raises(CorpusError, match=r"line 2 of '.*a\.jsonl' is longer than 1000 bytes; .* one document in each"):
        prepare(tmp_path, text_spec(tmp_path / "a.jsonl"))


def test_zstandard_that_is_missing_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress(b"x" * 9999))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(CorpusError, match=r"needs the library zstandard.*pip install 'switchbench\[hf\]'"):
        identify_corpus(text_spec(tmp_path / "a.txt.zst"))
