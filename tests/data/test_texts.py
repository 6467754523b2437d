"""Texts that need not fit in memory: slices, pieces and spools against plain bytes."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.data.spool import Spool, split_rows
from switchbench.data.texts import FileText, blocks, decode, pieces, read_range
from switchbench.errors import CorpusError

texts = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet="aé漢\U0001f600 \n", max_size=80).map(str.encode),
)


@settings(deadline=None)
@given(text=texts, most=st.integers(8, 40))
def test_pieces_are_the_text_and_cut_no_character(text: bytes, most: int):
    cut = list(pieces(text, most_bytes=most))
    assert b"".join(cut) == text
    assert all(0 < len(piece) <= most for piece in cut)
    assert all(len(piece) >= most // 2 for piece in cut[:-1])
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    assert "".join(piece.decode() for piece in cut) == text.decode()


@settings(deadline=None)
@given(parts=st.lists(st.one_of(st.text(max_size=5).map(str.encode), st.sampled_from([b"\xff", b"\xe9 ", b"\x80"]))))
def test_what_is_no_utf8_is_counted_byte_by_byte(parts: list[bytes]):
    # Each of these wrong bytes is followed by what cannot continue it, or can begin nothing.
    wrong = sum(part in (b"\xff", b"\xe9 ", b"\x80") for part in parts)
    text, invalid = decode(b"".join(parts))
    assert invalid == wrong
    assert text == "".join(part.decode(errors="replace") for part in parts)


@settings(deadline=None)
@given(text=st.binary(max_size=60), start=st.integers(-70, 70), stop=st.integers(-70, 70))
def test_a_part_of_a_file_is_sliced_like_bytes(
    text: bytes, start: int, stop: int, tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("part") / "file"
    path.write_bytes(b"before" + text + b"after")
    part = FileText(path, 6, 6 + len(text))
    assert len(part) == len(text)
    assert part[start:stop] == text[start:stop]
    assert part[:] == text == b"".join(blocks(part))


def test_a_file_that_became_shorter_or_went_is_said(tmp_path: Path):
    (tmp_path / "t").write_bytes(b"short")
    with pytest.raises(CorpusError, match=r"t' became shorter while it was read; start again"):
        read_range(tmp_path / "t", 2, 9)
    with pytest.raises(CorpusError, match=r"cannot read '.*gone': No such file or directory; make it readable"):
        read_range(tmp_path / "gone", 0, 1)


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(st.binary(max_size=40), max_size=30), fraction=st.sampled_from([0.01, 0.2, 0.49]))
def test_a_spool_gives_back_what_was_written(
    rows: list[bytes], fraction: float, tmp_path_factory: pytest.TempPathFactory
):
    split = split_rows(rows, folder=tmp_path_factory.mktemp("spool"), held_out_fraction=fraction)
    kept = [row for row in rows if row and b"\0" not in row]
    train, held_out = ([text[:] for text in spool] for spool in (split.train, split.held_out))
    assert sorted(train + held_out) == sorted(kept)
    assert [row for row in kept if row in held_out] == held_out, "in order"
    assert set(train).isdisjoint(held_out)
    assert split.num_binary == sum(b"\0" in row for row in rows)
    assert (split.num_documents, split.num_held_out_documents) == (len(kept), len(held_out))
    assert (split.num_bytes, split.held_out_bytes) == (sum(map(len, kept)), sum(map(len, held_out)))


def test_a_long_document_stays_in_the_spool(tmp_path: Path):
    long = os.urandom(3 * 2**20).replace(b"\0", b"\1")
    split = split_rows([b"a", long, b"b"], folder=tmp_path, held_out_fraction=1e-9)
    assert [len(text) for text in split.train] == [1, len(long), 1]
    (again,) = [text for text in Spool(split.train.path) if len(text) > 1]
    assert isinstance(again, FileText)
    assert again[:] == long
