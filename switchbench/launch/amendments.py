"""What became of a sweep file since the manifest was written: cells that are new, kept, and no longer in the file."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from switchbench.errors import ResultsFolderError
from switchbench.spec import RunSpec
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
    on_other_text: int = 0
    """Those of them that differ from a new cell in nothing but the text's content."""

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
        if self.on_other_text:
            text += (
                f"; the text has changed since: {self.on_other_text} of them would run on other text than before, and "
                "results on different text are not compared"
            )
        return f"{text}."


def compare_with_manifest(folder: SweepFolder, *, specs: Collection[RunSpec]) -> Amendment | None:
    """Compare the cells of a sweep file with the manifest that is there.

    Args:
        folder: The sweep's folder; need not exist.
        specs: The cells of the file.

    Returns:
        The comparison; None where there is no manifest that can be read, or one of a sweep that was not tuned yet.
    """
    try:
        manifest = read_manifest(folder)
    except ResultsFolderError:
        return None
    if manifest.pending:
        return None
    before = {cell.run_id: cell.spec for cell in manifest.cells}
    now = {spec.run_id: spec for spec in specs}
    gone, added = before.keys() - now.keys(), now.keys() - before.keys()
    alike = [_without_text(now[run_id].model_dump(mode="json")) for run_id in added]
    return Amendment(
        added=len(added),
        kept=len(now.keys() & before.keys()),
        gone=len(gone),
        on_other_text=sum(_without_text(before[run_id]) in alike for run_id in gone),
    )


def _without_text(spec: dict[str, Any]) -> dict[str, Any]:
    """A specification without what the text is identified by, with the defaults of fields that are new since."""
    try:
        whole = RunSpec.model_validate(spec).model_dump(mode="json")
    except ValidationError:  # of another version
        whole = spec
    return {name: value for name, value in whole.items() if name != "data_fingerprint"}
