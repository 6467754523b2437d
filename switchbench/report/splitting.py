"""Tables that are too wide: their columns shared out over blocks, with those that tell the rows apart in each."""

from collections.abc import Sequence


def split_columns(widths: Sequence[int], *, num_labels: int, available: int, gap: int) -> list[list[int]] | None:
    """Share the columns out over the fewest blocks that fit, about equally wide, with the labels first in each.

    Args:
        widths: The width of each column; those of the labels come first.
        num_labels: How many columns tell the rows apart.
        available: How wide a block may be.
        gap: Space between two columns.

    Returns:
        The columns of each block, by their place; None where not even one fits beside the labels.

    >>> split_columns([5, 8, 8, 8], num_labels=1, available=25, gap=2)
    [[0, 1, 2], [0, 3]]
    """
    labels = list(range(num_labels))
    numbers = range(num_labels, len(widths))
    if not numbers:
        return [labels] if _total(labels, widths, gap=gap) <= available else None
    narrowest = max(_total([*labels, i], widths, gap=gap) for i in numbers)
    if narrowest > available:
        return None

    def share_out(limit: int) -> list[list[int]]:
        blocks: list[list[int]] = []
        for i in numbers:
            if blocks and _total([*blocks[-1], i], widths, gap=gap) <= limit:
                blocks[-1].append(i)
            else:
                blocks.append([*labels, i])
        return blocks

    fewest = len(share_out(available))
    return next(blocks for limit in range(narrowest, available + 1) if len(blocks := share_out(limit)) == fewest)


def _total(columns: Sequence[int], widths: Sequence[int], *, gap: int) -> int:
    return sum(widths[i] for i in columns) + gap * (len(columns) - 1)
