"""Reading of quantities that people type: 80GiB, 512MiB, 1.5 PFLOP. The way back from the texts of ``units``."""

import math
import re
from fractions import Fraction

from switchbench.errors import UsageError

_SIZES: dict[str, int] = {"b": 1} | {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for unit, base in (("b", 1000), ("ib", 1024))
}
_FLOPS: dict[str, int] = {prefix: 1000**power for power, prefix in enumerate(["", *"kmgtpezy"])}
_DURATIONS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_NUMBER_AND_UNIT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d{1,2})?\s*([a-z]*)\s*", flags=re.IGNORECASE | re.ASCII)


def parse_size(text: str, *, name: str = "size") -> int:
    """Read a number of bytes, such as ``80GiB``; a fraction of a byte is cut off.

    Args:
        text: A number above 0 and its unit, in any case: B, KB ... PB (powers of 1000) or KiB ... PiB (of 1024).
        name: What the number is of, such as the option, for the error.

    Raises:
        UsageError: it is not of that form; says what is.

    >>> parse_size("80GiB") == 80 * 2**30, parse_size("1.5 GB"), parse_size("512mib") == 2**29
    (True, 1500000000, True)
    """
    number, unit = _split(text)
    factor = _SIZES.get(unit)
    if number is None or factor is None or number * factor < 1:
        hint = ""
        if number and unit in ("k", "m", "g", "t", "p"):
            hint = f"; {unit.upper()}B counts in powers of 1000, {unit.upper()}iB of 1024"
        elif number and not unit:
            hint = "; the unit is missing"
        raise UsageError(
            f"{name} must be a number of bytes with its unit, such as 80GiB, 80GB or 512MiB, got {text!r}{hint}"
        )
    return math.floor(number * factor)


def parse_duration(text: str, *, name: str = "duration") -> float:
    """Read a time in seconds, such as ``90s``, ``1.5h`` or ``2d``.

    Args:
        text: A number above 0 and its unit: s, m or min, h, d.
        name: What the number is of, such as the option, for the error.

    Raises:
        UsageError: it is not of that form; says what is.

    >>> parse_duration("90s"), parse_duration("10 min"), parse_duration("1.5h")
    (90.0, 600.0, 5400.0)
    """
    number, unit = _split(text)
    factor = _DURATIONS.get(unit)
    if not number or factor is None:
        raise UsageError(f"{name} must be a number with its unit s, min, h or d, such as 90s or 1.5h, got {text!r}")
    return float(number * factor)


def parse_flops(text: str, *, name: str = "FLOPs") -> float:
    """Read a number of floating-point operations, such as ``1.5e18`` or ``1.5 EFLOP``.

    Args:
        text: A number above 0, alone or with its unit, in any case: kFLOP ... YFLOP, with an s or
            without; the letters FLOP may be left out.
        name: What the number is of, such as the option, for the error.

    Raises:
        UsageError: it is not of that form; says what is.

    >>> parse_flops("1.5e18") == parse_flops("1.5 EFLOP") == parse_flops("1500PFLOPs") == parse_flops("1.5E")
    True
    """
    number, unit = _split(text)
    factor = _FLOPS.get(re.sub(r"flops?$", "", unit))
    if not number or factor is None:
        raise UsageError(f"{name} must be a number of FLOPs, such as 1.5e18, 1.5EFLOP or 300TFLOP, got {text!r}")
    return float(number * factor)


def _split(text: str) -> tuple[Fraction | None, str]:
    """Split a text into its number and its unit in small letters; (None, "") where that is not what it consists of."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    if match is None:
        return None, ""
    digits, exponent, unit = match.groups()
    return Fraction(digits + (exponent or "")), unit.lower()
