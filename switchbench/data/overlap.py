"""Text that occurs twice: files that are near-duplicates of each other, and the overlap of held-out with training text.

Both look at windows of 64 bytes, compared by 64-bit hashes. Windows never reach from one document into another.

Legend: N bytes of a text, W = N - 63 windows.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from switchbench.data.texts import Text

WINDOW_BYTES = 64
"""Length of a window. Chance does not repeat 64 bytes; copying, licenses and ruled lines do."""

RARE_FILES = 8
"""A window in more files than this is boilerplate (a license, a ruled line) and no sign of two files being related."""

RELATED_SHARE = 0.01
"""Two files are related when they share this much of the shorter one's windows, boilerplate aside."""

COPY_SHARE = 0.8
"""Two files are copies when they share this much of the longer one's windows, boilerplate included."""

LARGEST_RELATED_GROUP = 0.1
"""Related files are not grouped beyond this share of the corpus: links of links could swallow it. Copies always are."""

SAMPLED_WINDOWS = 2**20
"""Files are compared by about this many windows of the whole corpus at most, chosen by their content."""

MOST_OVERLAP_WINDOWS = 2**23
"""More held-out windows than this are not all looked for: a sample of them is, chosen by their content."""

_CHUNK_BYTES = 2**17  # the hashes of a chunk (1 MiB) stay in the processor's cache

Hashes = npt.NDArray[np.uint64]


def _multiplier(rng: np.random.Generator) -> np.uint64:
    # 3 modulo 4: odd, so that no bit is lost, and multiplier - 1 has a single factor 2, so that texts that differ only
    # in the order of equal parts (Thue-Morse words are the worst) lose 6 of the 64 bits and not all of them.
    return np.uint64((int(rng.integers(2**62)) << 2) | 3)


_RNG = np.random.default_rng(0)
_BYTE_HASHES = _RNG.integers(2**64, size=256, dtype=np.uint64)
_MULTIPLIERS = tuple(_multiplier(_RNG) for _ in range(WINDOW_BYTES.bit_length() - 1))


def window_hashes(text_N: npt.NDArray[np.uint8]) -> Hashes:
    """Hash every window of a text by doubling: H_2n[i] = H_n[i] · M_n + H_n[i + n] modulo 2^64, from a table of bytes.

    The upper bits are the well-mixed ones.

    Returns:
        Hashes, shape [W]; empty for a text shorter than a window.
    """
    if len(text_N) < WINDOW_BYTES:
        return np.empty(0, dtype=np.uint64)
    hashes = _BYTE_HASHES[text_N]
    for level, multiplier in enumerate(_MULTIPLIERS):
        length = 2**level
        doubled = hashes[:-length] * multiplier
        doubled += hashes[length:]
        hashes = doubled
    return hashes


def group_near_duplicates(texts: Iterable[Text], *, total_bytes: int) -> list[tuple[int, ...]]:
    """Group the files that share a part of their text, so that a group can be kept on one side of a split.

    Links are followed transitively, the strongest first. All windows of a corpus of up to a megabyte are compared; of a
    larger one, a sample chosen by hash, so that equal windows are chosen in every file.

    Args:
        texts: The files, one after the other.
        total_bytes: Their size together.

    Returns:
        Groups of indices into ``texts``, every index in one of them; both levels ascending.
    """
    dropped_bits = max(0, (max(total_bytes, 1) - 1) // SAMPLED_WINDOWS).bit_length()
    sizes, samples = [], []
    for text in texts:
        parts = [
            chunk[chunk >> np.uint64(64 - dropped_bits) == 0] if dropped_bits else chunk for chunk in _chunks(text)
        ]
        sizes.append(len(text))
        samples.append(np.unique(np.concatenate(parts)) if parts else np.empty(0, dtype=np.uint64))
    groups = _UnionFind(sizes)
    largest = LARGEST_RELATED_GROUP * sum(sizes)
    for first, second, is_copy in _links(samples):
        if is_copy or groups.size_together(first, second) <= largest:
            groups.join(first, second)
    return groups.members()


def window_overlap(held_out: Iterable[Text], *, train: Iterable[Text]) -> float:
    """Share of the held-out windows, at every offset, that also occur somewhere in the training text.

    Exact up to collisions of 64-bit hashes, for held-out text of up to 8 MiB; of more, a sample of the windows is
    looked for. Memory does not grow with the text.

    Returns:
        A share in [0, 1]; 0 where the held-out text has no window.
    """
    dropped_bits, sampled, num_sampled = 0, [np.empty(0, dtype=np.uint64)], 0
    for text in held_out:
        for chunk in _chunks(text):
            sampled.append(_sample(chunk, dropped_bits=dropped_bits))
            num_sampled += len(sampled[-1])
            while num_sampled > MOST_OVERLAP_WINDOWS:
                sampled = [_sample(np.concatenate(sampled), dropped_bits=1)]
                num_sampled = len(sampled[0])
                dropped_bits += 1
    wanted, counts = np.unique(np.concatenate(sampled), return_counts=True)
    if not len(wanted):
        return 0.0
    found = np.zeros(len(wanted), dtype=np.bool_)
    # Most training windows are not wanted: a table of the hashes' upper bits, 1/16 full, spares them the binary search.
    table_bits = min(max(16, len(wanted).bit_length() + 4), 27)
    shift = np.uint64(64 - table_bits)
    is_candidate = np.zeros(2**table_bits, dtype=np.bool_)
    is_candidate[wanted >> shift] = True
    for text in train:
        for whole_chunk in _chunks(text):
            chunk = _sample(whole_chunk, dropped_bits=dropped_bits)
            candidates = chunk[is_candidate[chunk >> shift]]
            places = np.minimum(np.searchsorted(wanted, candidates), len(wanted) - 1)
            found[places[wanted[places] == candidates]] = True
    return float(counts[found].sum() / counts.sum())


def _sample(hashes: Hashes, *, dropped_bits: int) -> Hashes:
    """The hashes that begin with so many zero bits, without these: 1 of 2^dropped_bits."""
    if dropped_bits == 0:
        return hashes
    kept: Hashes = hashes[hashes >> np.uint64(64 - dropped_bits) == 0]
    return np.left_shift(kept, np.uint64(dropped_bits), out=kept)


def _chunks(text: Text) -> Iterator[Hashes]:
    """Hashes of every window of a text, piece by piece."""
    for start in range(0, len(text) - WINDOW_BYTES + 1, _CHUNK_BYTES):
        piece = text[start : start + _CHUNK_BYTES + WINDOW_BYTES - 1]
        yield window_hashes(np.frombuffer(piece, dtype=np.uint8))


def _links(samples: Sequence[Hashes]) -> Iterator[tuple[int, int, bool]]:
    """Pairs of related files, the strongest link first, each with whether they are copies."""
    hashes = np.concatenate([*samples, np.empty(0, dtype=np.uint64)])
    files = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    order = np.argsort(hashes, kind="stable")  # stable: the files that share a window stay in ascending order
    hashes, files = hashes[order], files[order]
    starts = (
        np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])) if len(hashes) else np.empty(0, np.intp)
    )
    num_files = np.diff(np.append(starts, len(hashes)))
    rare, common = [], []
    for count in range(2, RARE_FILES + 1):
        sharing = files[starts[num_files == count][:, None] + np.arange(count)]
        rare += [_pair_keys(sharing[:, i], sharing[:, j], samples) for i in range(count) for j in range(i + 1, count)]
    # Of the many files with a common window only neighbors are compared: enough to chain copies, and linear.
    in_common = np.repeat(num_files > RARE_FILES, num_files)
    follows = np.flatnonzero(in_common[1:] & (hashes[1:] == hashes[:-1]))
    common.append(_pair_keys(files[follows], files[follows + 1], samples))

    lengths = np.array([max(len(sample), 1) for sample in samples])
    rare_keys, rare_counts = np.unique(np.concatenate(rare), return_counts=True)
    all_keys, all_counts = np.unique(np.concatenate([*rare, *common]), return_counts=True)
    rare_of_all = np.zeros(len(all_keys), dtype=np.int64)
    rare_of_all[np.searchsorted(all_keys, rare_keys)] = rare_counts
    first, second = np.divmod(all_keys, max(len(samples), 1))
    related_share = rare_of_all / np.minimum(lengths[first], lengths[second])
    copied_share = all_counts / np.maximum(lengths[first], lengths[second])
    is_copy = copied_share >= COPY_SHARE
    strength = np.where(is_copy, 1 + copied_share, related_share)
    for place in np.lexsort((all_keys, -strength)).tolist():
        if strength[place] >= RELATED_SHARE:
            yield int(first[place]), int(second[place]), bool(is_copy[place])


def _pair_keys(first: npt.NDArray[Any], second: npt.NDArray[Any], samples: Sequence[Hashes]) -> npt.NDArray[np.int64]:
    keys: npt.NDArray[np.int64] = (first * len(samples) + second).astype(np.int64)
    return keys


class _UnionFind:
    """Disjoint groups of files with their sizes; a group is known by its smallest index."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._parent = list(range(len(sizes)))
        self._size = list(sizes)

    def find(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def size_together(self, first: int, second: int) -> int:
        return sum(self._size[root] for root in {self.find(first), self.find(second)})

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.find(first), self.find(second)))
        if low != high:
            self._parent[high] = low
            self._size[low] += self._size[high]

    def members(self) -> list[tuple[int, ...]]:
        groups: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            groups.setdefault(self.find(item), []).append(item)
        return [tuple(groups[root]) for root in sorted(groups)]
