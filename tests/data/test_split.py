"""What is held out: the share, whole groups, the order of the walk, and the ends of large files."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.data.overlap import window_overlap
from switchbench.data.split import split_corpus


def random_text(size: int, *, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(97, 123, size=size, dtype=np.uint8).tobytes()


def split(texts: dict[str, bytes], held_out_fraction: float) -> dict[str, int]:
    """First held-out byte by name."""
    names = sorted(texts)
    starts = split_corpus(
        names,
        sizes=[len(texts[name]) for name in names],
        read=lambda i: texts[names[i]],
        held_out_fraction=held_out_fraction,
    )
    return dict(zip(names, starts, strict=True))


def held_out_bytes(texts: dict[str, bytes], starts: dict[str, int]) -> int:
    return sum(len(texts[name]) - start for name, start in starts.items())


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=60),
    fraction=st.sampled_from([0.01, 0.05, 0.2, 0.49]),
    seed=st.integers(0, 10**6),
)
def test_the_share_is_about_what_was_asked_for(sizes: list[int], fraction: float, seed: int):
    texts = {f"{seed}/{i}": random_text(size, seed=i) for i, size in enumerate(sizes)}
    starts = split(texts, fraction)
    assert starts == split(texts, fraction)
    asked, got = fraction * sum(sizes), held_out_bytes(texts, starts)
    if all(start in (0, len(texts[name])) for name, start in starts.items()):
        assert asked / 2 <= got <= 1.1 * (asked + 1) or got == 0
    else:
        assert got <= asked + len(texts) + 1, "ends in proportion, each rounded up to a byte"
    if got == 0:
        assert fraction * max(sizes) < 64, "only where all ends would be shorter than a window"


def test_many_small_files_give_the_share_closely_and_whole():
    texts = {f"f{i}.txt": random_text(500 + 37 * (i % 50), seed=i) for i in range(400)}
    starts = split(texts, 0.02)
    assert all(start in (0, len(texts[name])) for name, start in starts.items())
    assert 0.02 <= held_out_bytes(texts, starts) / sum(map(len, texts.values())) <= 0.022


def test_no_single_file_decides_the_score():
    texts = {f"f{i}.txt": random_text(1000, seed=i) for i in range(200)}
    texts |= {f"large{i}.txt": random_text(9000, seed=1000 + i) for i in range(20)}
    starts = split(texts, 0.05)  # 19,000 bytes: a large file is more than a quarter of it
    assert {len(texts[name]) for name, start in starts.items() if start == 0} == {1000}


def test_near_duplicates_stay_on_one_side():
    texts = {f"f{i:03}.txt": random_text(2000, seed=i) for i in range(100)}
    for i in range(0, 100, 2):
        texts[f"f{i + 1:03}.txt"] = texts[f"f{i:03}.txt"][:1500] + texts[f"f{i + 1:03}.txt"][:300]
    starts = split(texts, 0.2)
    held = {name for name, start in starts.items() if start == 0}
    assert len(held) >= 18
    assert all((f"f{i:03}.txt" in held) == (f"f{i + 1:03}.txt" in held) for i in range(0, 100, 2))
    assert window_overlap([texts[name] for name in held], train=[texts[name] for name in set(texts) - held]) == 0.0


def test_adding_files_moves_few_others():
    texts = {f"f{i}.txt": random_text(800 + 11 * (i % 40), seed=i) for i in range(300)}
    before = split(texts, 0.1)
    after = split(texts | {f"new{i}.txt": random_text(1000, seed=5000 + i) for i in range(5)}, 0.1)
    moved = [name for name, start in before.items() if after[name] != start]
    assert len(moved) <= 6, "about 31 of 300 files are held out; the walk ends a little earlier or later"


def test_the_order_is_by_the_hash_of_the_name_not_by_the_name():
    texts = {f"f{i:03}.txt": random_text(1000, seed=i) for i in range(200)}
    held = [int(name[1:4]) for name, start in split(texts, 0.1).items() if start == 0]
    assert len(held) == 20
    assert min(held) < 50
    assert max(held) >= 150


def test_one_file_is_cut_near_its_end_at_the_start_of_a_line():
    text = b"".join(b"line %d says %d\n" % (i, i * i) for i in range(5000))
    start = split({"book.txt": text}, 0.05)["book.txt"]
    assert text[start - 1 : start] == b"\n"
    assert 0.05 <= (len(text) - start) / len(text) <= 0.0502


def test_without_lines_the_cut_spares_a_character():
    text = "é".encode() * 5001  # the due offset falls between the two bytes of a character for one of two lengths
    for prefix in (b"", b"x"):
        start = split({"book.txt": prefix + text}, 0.05)["book.txt"]
        assert set((prefix + text)[start:].decode()) == {"é"}


def test_binary_rubbish_is_cut_where_due():
    assert split({"x": b"\x80" * 10_000}, 0.05) == {"x": 9500}


def test_few_large_files_each_give_their_end_and_small_ones_stay_whole():
    texts = {f"novel{i}.txt": random_text(100_000 + 20_000 * i, seed=i) for i in range(4)}
    texts |= {"note.txt": random_text(300, seed=9)}
    starts = split(texts, 0.01)
    assert starts["note.txt"] == 300
    ends = [1 - starts[f"novel{i}.txt"] / len(texts[f"novel{i}.txt"]) for i in range(4)]
    assert ends == pytest.approx([0.01] * 4, abs=1e-4)


def test_two_copies_of_one_file_do_not_leak_into_each_other():
    text = random_text(50_000, seed=1)
    texts = {"a.txt": text, "b.txt": text}
    starts = split(texts, 0.1)
    assert starts["a.txt"] == starts["b.txt"] == 45_000
    assert overlap_of(list(texts.values()), list(starts.values())) == 0.0


def overlap_of(texts: Sequence[bytes], starts: Sequence[int]) -> float:
    pairs = list(zip(texts, starts, strict=True))
    return window_overlap([text[start:] for text, start in pairs], train=[text[:start] for text, start in pairs])
