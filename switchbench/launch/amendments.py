"""What became of a sweep file since the manifest was written: cells that are new, kept, and no longer in the file."""

from collections.abc import Collection
from dataclasses import dataclass

from switchbench.errors import ResultsFolderError
from switchbench.store import SweepFolder, read_manifest


@dataclass(frozen=True, kw_only=True)
class Amendment:
    """The cells of a sweep file beside those of the manifest that is there."""

    added: int
    """Cells that the manifest does not name."""
    kept: int
    """Cells that both have."""
    gone: int
    """Cells of the manifest that are no longer in the file."""

    def line(self) -> str | None:
        """Put it into words; None where nothing has changed.

        >>> Amendment(added=6, kept=18, gone=2).line()
        '+6 cells, 18 kept, 2 no longer in the file (their results stay until `switchbench prune`).'
        """
        if not self.added and not self.gone:
            return None
        text = f"+{self.added} {'cell' if self.added == 1 else 'cells'}, {self.kept} kept"
        if self.gone:
            whose = "its" if self.gone == 1 else "their"
            text += f", {self.gone} no longer in the file ({whose} results stay until `switchbench prune`)"
        return f"{text}."


def compare_with_manifest(folder: SweepFolder, *, run_ids: Collection[str]) -> Amendment | None:
    """Compare the cells of a sweep file with the manifest that is there.

    Args:
        folder: The sweep's folder; need not exist.
        run_ids: The cells of the file.

    Returns:
        The comparison; None where there is no manifest that can be read, or one of a sweep that was not tuned yet.
    """
    try:
        manifest = read_manifest(folder)
    except ResultsFolderError:
        return None
    if manifest.pending:
        return None
    before = {cell.run_id for cell in manifest.cells}
    now = set(run_ids)
    return Amendment(added=len(now - before), kept=len(now & before), gone=len(before - now))
