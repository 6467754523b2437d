"""What is left over in the folders of sweeps, for people."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from switchbench.inspection.leftovers import Leftover, SweepLeftovers
from switchbench.units import size

SHOWN_FILES = 5
"""Most files of a kind that are named; the JSON object has them all."""


def print_leftovers(found: Sequence[SweepLeftovers], *, console: Console) -> None:
    """Print what would be removed, with sizes.

    Args:
        found: What was found.
        console: Where to.
    """
    for each in found:
        if each.files:
            console.print(Text(f"{each.folder.path}: {files_text(each.files)}", style="bold"))
        kinds: dict[str, list[Leftover]] = {}
        for file in each.files:
            kinds.setdefault(file.kind, []).append(file)
        for kind, files in kinds.items():
            console.print(Text(f"  {kind}: {files_text(files)}"))
            for file in files[:SHOWN_FILES]:
                path = file.path.relative_to(each.folder.path)
                console.print(Text(f"    {path} ({size(file.num_bytes)})", style="dim"), soft_wrap=True)
            if len(files) > SHOWN_FILES:
                console.print(f"    and {len(files) - SHOWN_FILES} more; --json names them all")


def obstacle_lines(found: Sequence[SweepLeftovers]) -> list[str]:
    """Say which sweeps are left alone, and why.

    Args:
        found: What was found.
    """
    return [f"{each.folder.path} is left alone: {each.obstacle}" for each in found if each.obstacle is not None]


def files_text(files: Sequence[Leftover]) -> str:
    """Count files and sum up their size: ``2 files, 3.00 KiB``.

    Args:
        files: The files.
    """
    noun = "file" if len(files) == 1 else "files"
    return f"{len(files)} {noun}, {size(sum(file.num_bytes for file in files))}"
