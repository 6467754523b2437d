from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from switchbench.report.splitting import split_columns


def total(columns: Iterable[int], widths: Sequence[int]) -> int:
    return sum(widths[i] + 2 for i in columns) - 2


@given(
    labels=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    numbers=st.lists(st.integers(1, 20), min_size=1, max_size=14),
    available=st.integers(10, 200),
)
def test_columns_are_shared_out_over_the_fewest_blocks_that_fit(labels: list[int], numbers: list[int], available: int):
    widths = labels + numbers
    blocks = split_columns(widths, num_labels=len(labels), available=available, gap=2)
    own = range(len(labels))
    if blocks is None:
        assert any(total([*own, i], widths) > available for i in range(len(labels), len(widths)))
        return
    assert all(block[: len(labels)] == list(own) for block in blocks)
    assert [i for block in blocks for i in block[len(labels) :]] == list(range(len(labels), len(widths)))
    assert all(total(block, widths) <= available for block in blocks)
    greedy, room = 1, available - total(own, widths)
    used = 0
    for width in numbers:
        if used and used + width + 2 > room:
            greedy, used = greedy + 1, 0
        used += width + 2
    assert len(blocks) == greedy


def test_a_table_of_labels_alone_is_one_block_or_none():
    assert split_columns([5, 5], num_labels=2, available=12, gap=2) == [[0, 1]]
    assert split_columns([5, 5], num_labels=2, available=11, gap=2) is None
