"""How every command prints its answer."""

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

DEFAULT_RESULTS = Path("results")
PIPE_COLUMNS = 160


def plain_console() -> Any:
    """A rich console on stdout, as wide as the terminal; in a file or a pipe wide enough for any table."""
    from rich.console import Console

    is_free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=PIPE_COLUMNS if is_free else None)


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object, in ASCII, on stdout."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_lines(lines: list[str], *, file: TextIO) -> None:
    """Print lines as they are."""
    for line in lines:
        print(line, file=file)
