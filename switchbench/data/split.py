"""Which part of a corpus is held out: whole groups of near-duplicate files, or the ends of files too large for that."""

import hashlib
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from switchbench.data.overlap import WINDOW_BYTES, group_near_duplicates
from switchbench.data.texts import Text

SPLIT_VERSION = 1
"""Part of every fingerprint; raised when the same corpus would be split differently."""

LARGEST_PART = Fraction(1, 4)
"""Groups above this part of the held-out text are a second choice, so that no single file decides the score."""

OVERSHOOT = Fraction(11, 10)
"""A group that would bring the held-out text above this multiple of what was asked for is passed over."""

_LINE_SEARCH_BYTES = 4096  # how far before its due place a cut looks for the start of a line


def split_corpus(
    names: Sequence[str], *, sizes: Sequence[int], read: Callable[[int], Text], held_out_fraction: float
) -> tuple[int, ...]:
    """Decide which text is held out; the decision depends on names and contents only.

    Near-duplicate files form groups. Groups are walked in the order of the SHA-256 of their first file's name, and each
    is held out that keeps the total within 10% above the share asked for, until it is reached: first the groups of at
    most a quarter of the held-out text, then the others. Where that gives less than half of what was asked for, because
    the files are few or large, no file is held out whole; the ends of those that were too large are, in
    proportion to their sizes, cut at the start of a line where there is one near.

    Args:
        names: Relative paths, in ascending order.
        sizes: Bytes of each file.
        read: Gives a file's content by its index.
        held_out_fraction: Share of the bytes to hold out.

    Returns:
        For each file the offset from which on its bytes are held out: 0 for all of it, its size for none.
    """
    groups = group_near_duplicates((read(i) for i in range(len(names))), total_bytes=sum(sizes))
    groups.sort(key=lambda group: hashlib.sha256(names[group[0]].encode("utf-8", "surrogateescape")).digest())
    group_sizes = [sum(sizes[i] for i in group) for group in groups]
    wanted = math.ceil(Fraction(repr(held_out_fraction)) * sum(sizes))

    chosen: set[int] = set()
    taken = 0
    for largest in (LARGEST_PART * wanted, OVERSHOOT * wanted):
        for number, size in enumerate(group_sizes):
            if taken < wanted and number not in chosen and size <= largest and taken + size <= OVERSHOOT * wanted:
                chosen.add(number)
                taken += size
    starts = list(sizes)
    if 2 * taken >= wanted:
        for number in chosen:
            for i in groups[number]:
                starts[i] = 0
        return tuple(starts)

    too_large = [i for number, group in enumerate(groups) if number not in chosen for i in group]
    share = Fraction(wanted, sum(sizes[i] for i in too_large))
    for i in too_large:
        length = math.ceil(share * sizes[i])
        if length >= WINDOW_BYTES:  # a shorter end is no text to be scored on
            starts[i] = _cut_before(read(i), sizes[i] - length)
    return tuple(starts)


def _cut_before(text: Text, due: int) -> int:
    """Last start of a line in the few kilobytes before an offset, else of a UTF-8 character, else the offset itself."""
    reach = min(_LINE_SEARCH_BYTES, (len(text) - due) // 4)
    begin = max(0, due - max(reach, 3))
    before = text[begin : due + 1]
    newline = before.rfind(b"\n", max(0, due - reach) - begin, due - begin)
    if newline >= 0:
        return begin + newline + 1
    for cut in range(due, max(0, due - 3), -1):
        if before[cut - begin] & 0xC0 != 0x80:  # not a continuation byte
            return cut
    return due
