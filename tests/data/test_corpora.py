"""Identity and preparation of a corpus: tokens, counts, and what makes two corpora the same."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from switchbench.data.corpora import PreparedCorpus, identify_corpus, prepare_corpus, read_tokens
from switchbench.data.overlap import window_overlap
from switchbench.data.tokenizers import open_tokenizer
from switchbench.errors import CorpusError
from switchbench.spec import DataSpec


def random_lines(count: int, *, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    return b"".join(b" ".join(b"%d" % n for n in rng.integers(0, 10**6, size=8)) + b"\n" for _ in range(count))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Sixty files, two of them near-duplicates, with a space, an accent and bytes that are no UTF-8 among them."""
    root = tmp_path / "library"
    root.mkdir()
    for i in range(58):
        (root / f"book {i:02} à lire.txt").write_bytes(random_lines(20 + i, seed=i))
    (root / "latin.txt").write_bytes("déjà vu\n".encode("latin-1") * 50)
    (root / "latin again.txt").write_bytes("déjà vu\n".encode("latin-1") * 51)
    return root


def text_spec(path: Path | str, *, held_out_fraction: float = 0.1, seq_len: int = 16) -> DataSpec:
    return DataSpec(corpus="text", path=str(path), held_out_fraction=held_out_fraction, seq_len=seq_len)


def documents(corpus: PreparedCorpus, path: Path) -> list[bytes]:
    tokens = read_tokens(path, vocab_size=corpus.vocab_size)
    stream = tokens.tobytes()
    assert stream[:1] == b"\0", "a separator stands before every document, the first as well"
    return stream[1:].split(b"\0")


def test_both_sides_hold_whole_documents_after_separators(library: Path, tmp_path: Path):
    corpus = prepare_corpus(text_spec(library), cache_root=tmp_path / "cache")
    train, held_out = documents(corpus, corpus.train_tokens_path), documents(corpus, corpus.held_out_tokens_path)
    in_order = [path.read_bytes() for path in sorted(library.iterdir(), key=lambda path: path.name)]
    assert [text for text in in_order if text in train] == train
    assert [text for text in in_order if text in held_out] == held_out
    assert sorted(train + held_out) == sorted(in_order)
    assert corpus.num_files == 60
    assert not corpus.is_cut
    assert corpus.num_held_out_files == len(held_out)
    assert corpus.corpus_bytes == sum(map(len, in_order))
    assert corpus.held_out_bytes == sum(map(len, held_out))
    assert corpus.num_held_out_tokens == corpus.held_out_bytes + len(held_out)
    assert corpus.num_train_tokens == sum(map(len, train)) + len(train)
    assert 0.1 <= corpus.held_out_bytes / corpus.corpus_bytes <= 0.11
    assert corpus.held_out_overlap == window_overlap(held_out, train=train) == 0.0


def test_one_file_gives_its_end(tmp_path: Path):
    text = random_lines(2000, seed=0)
    (tmp_path / "book").write_bytes(text)
    corpus = prepare_corpus(text_spec(tmp_path / "book", held_out_fraction=0.05), cache_root=tmp_path / "cache")
    (train,), (held_out,) = (
        documents(corpus, path) for path in (corpus.train_tokens_path, corpus.held_out_tokens_path)
    )
    assert train + held_out == text
    assert train.endswith(b"\n")
    assert len(held_out) == pytest.approx(0.05 * len(text), rel=0.02)
    assert (corpus.num_files, corpus.num_held_out_files, corpus.is_cut) == (1, 1, True)


def test_repeated_text_is_recorded_as_overlap(tmp_path: Path):
    (tmp_path / "book").write_bytes(random_lines(50, seed=0) * 40)
    corpus = prepare_corpus(text_spec(tmp_path / "book"), cache_root=tmp_path / "cache")
    assert corpus.held_out_overlap == 1.0


def test_what_was_skipped_is_told_at_every_preparation(library: Path, tmp_path: Path):
    (library / "cover.png").write_bytes(b"\0")
    for _ in range(2):
        assert prepare_corpus(text_spec(library), cache_root=tmp_path / "c").skipped == "1 with other suffixes (.png)"


def test_identity_is_names_and_bytes_wherever_and_whenever(library: Path, tmp_path: Path):
    identity = identify_corpus(text_spec(library))
    assert identity.vocab_size == 256
    assert len(identity.fingerprint) == 16
    moved = tmp_path / "moved here"
    shutil.copytree(library, moved)
    for path in moved.iterdir():
        os.utime(path, (0, 0))
    assert identify_corpus(text_spec(moved)) == identity
    assert identify_corpus(text_spec(f"{moved}/*.txt")) == identity
    assert identify_corpus(text_spec(moved, seq_len=32)) == identity, "the length of sequences is no part of it"
    corpus = prepare_corpus(text_spec(moved), cache_root=tmp_path / "cache")
    assert corpus.fingerprint == identity.fingerprint


@pytest.mark.parametrize(
    "change", ["a byte", "a name", "a file more", "a byte from file to file", "the held-out share"]
)
def test_what_changes_the_tokens_changes_the_identity(change: str, library: Path):
    before = identify_corpus(text_spec(library))
    first, second = library / "book 00 à lire.txt", library / "book 01 à lire.txt"
    first_bytes, times = first.read_bytes(), first.stat()
    fraction = 0.1
    match change:
        case "a byte":
            first.write_bytes(first_bytes[:-2] + b"x\n")
        case "a name":
            first.rename(library / "book 00 à relire.txt")
        case "a file more":
            (library / "z.txt").write_bytes(b"z")
        case "a byte from file to file":
            first.write_bytes(first_bytes[:-1])
            second.write_bytes(first_bytes[-1:] + second.read_bytes())
        case "the held-out share":
            fraction = 0.11
    if change == "a byte":
        assert first.stat().st_size == times.st_size
    assert identify_corpus(text_spec(library, held_out_fraction=fraction)).fingerprint != before.fingerprint


@pytest.mark.skipif(os.name != "posix", reason="needs names that are no text")
def test_a_name_that_is_no_text_is_a_name(tmp_path: Path):
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (tmp_path / name).write_bytes(random_lines(500, seed=0))
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    corpus = prepare_corpus(text_spec(tmp_path), cache_root=tmp_path / "cache")
    assert corpus.fingerprint == identify_corpus(text_spec(tmp_path)).fingerprint


def test_text_that_changes_meanwhile_is_not_kept_under_a_wrong_name(library: Path, tmp_path: Path):
    path = library / "book 00 à lire.txt"

    def edit(doing: str, fraction: float) -> None:
        if doing.startswith("measuring"):
            path.write_bytes(path.read_bytes().swapcase().replace(b"1", b"2"))

    with pytest.raises(CorpusError, match=r"library' changed while it was read; start again"):
        prepare_corpus(text_spec(library), cache_root=tmp_path / "cache", progress=edit)
    assert list((tmp_path / "cache").iterdir()) == []


def test_progress_is_told_in_order(library: Path, tmp_path: Path):
    told: list[tuple[str, float]] = []
    prepare_corpus(text_spec(library), cache_root=tmp_path / "c", progress=lambda *args: told.append(args))
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert len({doing for doing, _ in told}) >= 4


@pytest.mark.parametrize(
    ("size", "seq_len", "message"),
    [
        (
            1000,
            128,
            r"data\.path '.*t\.txt' is too short: its 1000 bytes in 1 file give 901 tokens to train on and 101 held "
            r"out, and each side needs at least 129, a sequence of data\.seq_len 128 and the token after it; "
            r"give more text, or raise data\.held_out_fraction above 0\.1, or lower data\.seq_len to at most 100$",
        ),
        # Ends of less than a window are not held out at all.
        (100, 128, r"give 101 tokens to train on and 0 held out.*; give more text, or raise data\.held_out_fraction"),
        (2, 2, r"give 3 tokens .* or raise data\.held_out_fraction above 0\.1$"),
    ],
)
def test_text_shorter_than_a_sequence_is_refused(size: int, seq_len: int, message: str, tmp_path: Path):
    (tmp_path / "t.txt").write_bytes(bytes(97 + i * i % 26 for i in range(size)))
    data = text_spec(tmp_path / "t.txt", seq_len=seq_len)
    for function in (identify_corpus, lambda data: prepare_corpus(data, cache_root=tmp_path / "cache")):
        with pytest.raises(CorpusError, match=message):
            function(data)


def test_a_prepared_corpus_is_still_too_short_for_longer_sequences(tmp_path: Path):
    (tmp_path / "t.txt").write_bytes(random_lines(30, seed=0))
    corpus = prepare_corpus(text_spec(tmp_path / "t.txt"), cache_root=tmp_path / "cache")
    exactly = corpus.num_held_out_tokens - 1
    prepare_corpus(text_spec(tmp_path / "t.txt", seq_len=exactly), cache_root=tmp_path / "cache")
    identify_corpus(text_spec(tmp_path / "t.txt", seq_len=exactly))
    for function in (identify_corpus, lambda data: prepare_corpus(data, cache_root=tmp_path / "cache")):
        with pytest.raises(CorpusError, match=f"needs at least {exactly + 2}"):
            function(text_spec(tmp_path / "t.txt", seq_len=exactly + 1))


def test_every_file_is_valid_as_bytes():
    tokenizer = open_tokenizer(None)
    everything = bytes(range(256))
    (tokens,) = tokenizer.encode([everything])
    assert tokens.tolist() == list(range(256))
    assert tokenizer.decode(tokens.tolist()) == everything
    assert (tokenizer.vocab_size, tokenizer.separator) == (256, 0)


def test_the_standard_library_splits_without_leaking(tmp_path: Path):
    data = DataSpec()
    start = time.perf_counter()
    identity = identify_corpus(data)
    assert time.perf_counter() - start < 3, "about 0.05 s; the margin is for a cold and crowded disk"
    corpus = prepare_corpus(data, cache_root=tmp_path)
    assert corpus.fingerprint == identity.fingerprint
    assert 5e6 < corpus.corpus_bytes < 2e7
    assert 0.01 <= corpus.held_out_bytes / corpus.corpus_bytes <= 0.011
    assert corpus.num_held_out_files >= 5
    # Measured on CPython 3.11 to 3.13: 0.0037 to 0.0047; by the hash of each path alone, 0.03 to 0.08.
    assert corpus.held_out_overlap < 0.01
    assert corpus.skipped == ""
