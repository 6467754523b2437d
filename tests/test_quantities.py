"""Reading quantities, against what they mean and against the texts that ``units`` makes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchbench import units
from switchbench.errors import UsageError
from switchbench.quantities import parse_flops, parse_size


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("80GiB", 80 * 1024 * 1024 * 1024),
        ("80GB", 80_000_000_000),
        ("512 MiB", 512 * 1024 * 1024),
        ("512mib", 512 * 1024 * 1024),
        ("1.5KB", 1500),
        (".5 KiB", 512),
        ("2e3 B", 2000),
        ("1.1B", 1),
        (" 7TiB ", 7 * 1024**4),
        ("1pb", 10**15),
        ("0.1GB", 100_000_000),  # one tenth is no binary fraction, and is not rounded down
    ],
)
def test_sizes(text: str, num_bytes: int) -> None:
    assert parse_size(text) == num_bytes


@pytest.mark.parametrize(
    "text",
    ["", "80", "80G", "GiB", "0GiB", "-1GiB", "0.5B", "infGB", "nanGB", "1e999GB", "80 GiB/s", "1EB", "²GB", "1,5GB"],
)
def test_what_is_no_size_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--device-memory must be .* 80GiB, 80GB or 512MiB") as refused:
        parse_size(text, name="--device-memory")
    assert repr(text) in str(refused.value)


def test_a_size_without_all_of_its_unit_is_told_what_is_missing() -> None:
    with pytest.raises(UsageError, match="GB counts in powers of 1000, GiB of 1024"):
        parse_size("80G")
    with pytest.raises(UsageError, match="the unit is missing"):
        parse_size("80")


@pytest.mark.parametrize(
    ("text", "flops"),
    [("1.5e18", 1.5e18), ("1.5 EFLOP", 1.5e18), ("300TFLOP", 3e14), ("2pflops", 2e15), ("2k", 2e3), ("7", 7.0)],
)
def test_flops(text: str, flops: float) -> None:
    assert parse_flops(text) == flops


@pytest.mark.parametrize("text", ["", "0", "-1e18", "1e999", "FLOP", "3 GB", "1e18 FLOP/s", "inf"])
def test_what_is_no_number_of_flops_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--max-flops must be .* 1.5e18, 1.5EFLOP or 300TFLOP"):
        parse_flops(text, name="--max-flops")


@given(st.integers(1, 2**49))
def test_a_printed_size_can_be_typed_in_again(num_bytes: int) -> None:
    assert parse_size(units.size(num_bytes)) == pytest.approx(num_bytes, rel=0.006)  # three digits are printed


@given(st.floats(1, 1e20))
def test_printed_flops_can_be_typed_in_again(flops: float) -> None:
    assert parse_flops(units.flops(flops)) == pytest.approx(flops, rel=0.006 if flops >= 100 else 0.5)
