"""Formatting of quantities for people: 1.2 GFLOP, 3.4 ms, 512 MiB. Formatting only; no arithmetic on results."""

import math

_DECIMAL = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_COUNT = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_BINARY = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
UNKNOWN = "–"
"""What stands in a table for a value that is not known."""


def significant(value: float, *, digits: int = 3) -> str:
    """Format with a number of significant digits, without an exponent and without trailing noise.

    >>> significant(1234.5), significant(0.012345), significant(2.0)
    ('1234', '0.0123', '2.00')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return f"{value:.{max(digits - 1 - exponent, 0)}f}"


def count(value: float | None) -> str:
    """Format a count of parameters or tokens.

    >>> count(222_903_552), count(7_415_217_408), count(950), count(None)
    ('223M', '7.42B', '950', '–')
    """
    return _scaled(value, _COUNT, unit="", space="")


def flops(value: float | None) -> str:
    """Format a number of floating-point operations.

    >>> flops(1.2e9)
    '1.20 GFLOP'
    """
    return _scaled(value, _DECIMAL, unit="FLOP", space=" ")


def size(value: float | None) -> str:
    """Format a number of bytes with binary prefixes.

    >>> size(512 * 2**20)
    '512 MiB'
    """
    if value is None:
        return UNKNOWN
    for factor, unit in _BINARY:
        if abs(value) >= factor:
            return f"{significant(value / factor)} {unit}"
    return f"{value:.0f} B"


def duration(value: float | None) -> str:
    """Format a number of seconds.

    >>> duration(0.0034), duration(75), duration(2 * 3600 + 120)
    ('3.40 ms', '1 min 15 s', '2 h 02 min')
    """
    if value is None:
        return UNKNOWN
    if value < 1e-3:
        return f"{significant(value * 1e6)} µs"
    if value < 1:
        return f"{significant(value * 1e3)} ms"
    if value < 59.5:
        return f"{significant(value)} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent(value: float | None) -> str:
    """Format a fraction as a percentage.

    >>> percent(0.0482), percent(0.0)
    ('4.82%', '0%')
    """
    if value is None:
        return UNKNOWN
    return f"{significant(100 * value)}%"


def _scaled(value: float | None, prefixes: tuple[tuple[float, str], ...], *, unit: str, space: str) -> str:
    if value is None:
        return UNKNOWN
    for factor, prefix in prefixes:
        if abs(value) >= factor * 0.9995:
            return f"{significant(value / factor)}{space}{prefix}{unit}"
    return f"{value:.0f}{space}{unit}"
