"""Windows that occur twice: hashes, overlap and near-duplicates, each against a slow twin over sets of bytes."""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchbench.data import overlap
from switchbench.data.overlap import (
    COPY_SHARE,
    LARGEST_RELATED_GROUP,
    RARE_FILES,
    RELATED_SHARE,
    WINDOW_BYTES,
    group_near_duplicates,
    window_hashes,
    window_overlap,
)

BLOCKS = [np.random.default_rng(i).integers(97, 123, size=70 + 13 * i, dtype=np.uint8).tobytes() for i in range(12)]
"""Random texts of 70 to 213 bytes: what texts share is made of these."""

texts_of_blocks = st.lists(
    st.lists(st.sampled_from([*BLOCKS, b"", b"-" * 90]), min_size=0, max_size=5).map(b"".join), min_size=0, max_size=14
)


def random_text(size: int, *, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(32, 127, size=size, dtype=np.uint8).tobytes()


def windows(text: bytes) -> list[bytes]:
    return [text[i : i + WINDOW_BYTES] for i in range(len(text) - WINDOW_BYTES + 1)]


def slow_overlap(held_out: Sequence[bytes], train: Sequence[bytes]) -> float:
    known = {window for text in train for window in windows(text)}
    wanted = [window for text in held_out for window in windows(text)]
    return sum(window in known for window in wanted) / len(wanted) if wanted else 0.0


def slow_groups(texts: Sequence[bytes]) -> list[tuple[int, ...]]:
    """The rules of grouping, for corpora small enough that no window is sampled away."""
    distinct = [set(windows(text)) for text in texts]
    files_with = defaultdict(list)
    for i, of_file in enumerate(distinct):
        for window in of_file:
            files_with[window].append(i)
    rare, shared = defaultdict(int), defaultdict(int)
    for files in files_with.values():
        if len(files) <= RARE_FILES:
            for pair in itertools.combinations(files, 2):
                rare[pair] += 1
                shared[pair] += 1
        else:
            for pair in itertools.pairwise(files):
                shared[pair] += 1
    links = []
    for a, b in shared:
        shorter, longer = sorted((len(distinct[a]), len(distinct[b])))
        if shared[a, b] / longer >= COPY_SHARE:
            links.append((-1 - shared[a, b] / longer, a, b, True))
        elif rare[a, b] / shorter >= RELATED_SHARE:
            links.append((-rare[a, b] / shorter, a, b, False))
    group_of = {i: {i} for i in range(len(texts))}
    for _, a, b, is_copy in sorted(links):
        merged = group_of[a] | group_of[b]
        if is_copy or sum(len(texts[i]) for i in merged) <= LARGEST_RELATED_GROUP * sum(map(len, texts)):
            for i in merged:
                group_of[i] = merged
    return sorted({tuple(sorted(group)) for group in group_of.values()})


@settings(deadline=None)
@given(st.lists(st.sampled_from([*BLOCKS, b"ab" * 40, b"\x00" * 65]), max_size=5).map(b"".join))
def test_equal_windows_and_only_they_have_equal_hashes(text: bytes):
    hashes = window_hashes(np.frombuffer(text, np.uint8)).tolist()
    slices = windows(text)
    assert len(hashes) == len(slices)
    assert len(set(hashes)) == len(set(slices)) == len(set(zip(hashes, slices, strict=True)))


def test_hashes_tell_texts_apart_that_differ_in_the_order_of_equal_parts():
    # A word of Thue and Morse and its complement: equal under any polynomial hash modulo 2^64 of enough levels.
    word = b"a"
    while len(word) < WINDOW_BYTES:
        word += word.translate(bytes.maketrans(b"ab", b"ba"))
    complement = word.translate(bytes.maketrans(b"ab", b"ba"))
    first, second = (int(window_hashes(np.frombuffer(text, np.uint8))[0]) for text in (word, complement))
    assert first != second
    assert first >> 40 != second >> 40, "the upper bits, by which windows are sampled, differ too"


@settings(deadline=None)
@given(held_out=texts_of_blocks, train=texts_of_blocks)
def test_overlap_is_that_of_sets_of_slices(held_out: list[bytes], train: list[bytes]):
    assert window_overlap(held_out, train=train) == pytest.approx(slow_overlap(held_out, train))


@pytest.mark.parametrize("chunk", [1, 7, 64, 200])
def test_no_window_is_lost_between_pieces_of_a_text(chunk: int, monkeypatch: pytest.MonkeyPatch):
    text = random_text(700, seed=1)
    monkeypatch.setattr(overlap, "_CHUNK_BYTES", chunk)
    assert window_overlap([text], train=[text]) == 1.0
    # In "train" the second half of the text comes first: the 63 windows across its middle are the only new ones.
    assert window_overlap([text], train=[text[350:] + text[:350]]) == pytest.approx(1 - 63 / (700 - 63))


def test_windows_do_not_reach_from_file_to_file():
    text = random_text(128, seed=2)
    assert window_overlap([text], train=[text[:63], text[63:126]]) == 0.0
    assert window_overlap([text[:63], text[65:]], train=[text]) == 0.0
    assert window_overlap([], train=[text]) == 0.0


@settings(max_examples=150, deadline=None)
@given(texts_of_blocks)
def test_groups_follow_the_rules(texts: list[bytes]):
    assert group_near_duplicates(texts, total_bytes=sum(map(len, texts))) == slow_groups(texts)


def test_groups_follow_the_rules_where_related_groups_have_room():
    # 60 files of which each shares a block with the next one in some places: chains within a tenth of the corpus.
    rng = np.random.default_rng(3)
    texts = [random_text(2000, seed=100 + i) for i in range(60)]
    for i in rng.choice(59, size=30, replace=False).tolist():
        texts[i + 1] += texts[i][500 : 500 + int(rng.integers(64, 400))]
    groups = group_near_duplicates(texts, total_bytes=sum(map(len, texts)))
    assert groups == slow_groups(texts)
    assert max(map(len, groups)) > 2


def test_a_license_in_every_file_relates_none_but_copies_are_found_however_many():
    license_text = random_text(1500, seed=4)
    files = [license_text + random_text(3000, seed=10 + i) for i in range(12)]
    copies = [random_text(4000, seed=5) + b"# copy %d\n" % i for i in range(12)]
    groups = group_near_duplicates(files + copies, total_bytes=12 * 4500 + 12 * 4010)
    assert groups == [*((i,) for i in range(12)), tuple(range(12, 24))]


def test_links_of_links_do_not_swallow_the_corpus():
    texts = [random_text(1000, seed=20 + i) for i in range(50)]
    chain = [text + following[:150] for text, following in itertools.pairwise([*texts, texts[0]])]
    total = sum(map(len, chain))
    groups = group_near_duplicates(chain, total_bytes=total)
    assert 1 < max(map(len, groups)) <= LARGEST_RELATED_GROUP * 50


def test_a_sample_of_the_windows_still_finds_what_is_shared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(overlap, "SAMPLED_WINDOWS", 2**12)  # of 2.4 million windows
    texts = [random_text(40_000, seed=40 + i) for i in range(60)]
    texts[7] = texts[7][:20_000] + texts[50][20_000:]
    texts[9] = texts[30] + b"more"
    total = sum(map(len, texts))
    paired = [group for group in group_near_duplicates(texts, total_bytes=total) if len(group) > 1]
    assert paired == [(7, 50), (9, 30)]
