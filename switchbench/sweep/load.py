"""Reads a sweep file: YAML in, checked runs out, or every problem at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from switchbench.spec import DataIdentity, DataSpec, RunSpec, SparseFFNSpec
from switchbench.sweep.cells import Sweep, cells_of
from switchbench.sweep.document import parse
from switchbench.sweep.expand import configurations
from switchbench.sweep.outline import Outline, read_outline
from switchbench.sweep.overrides import apply_overrides
from switchbench.sweep.source import Findings, read_source


def load_sweep(path: Path, *, overrides: Sequence[str] = (), identify: Callable[[DataSpec], DataIdentity]) -> Sweep:
    """Read a sweep file, apply overrides, and expand and check all of its runs.

    Args:
        path: The file.
        overrides: Settings of the form ``KEY=VALUE``, with paths from the file's root: ``base.train.tokens=3e5``,
            ``sweep.seeds=[0]``, ``sweep.grid.model.ffn.num_experts=[4]``. Of two for one key, the last one holds.
        identify: Identifies a corpus; called once per distinct data specification, before anything is tokenized.

    Raises:
        SweepFileError: The file or an override is wrong; all problems at once, in the order of the file.
    """
    path = Path(path)
    findings = Findings(str(path))
    source = read_source(path, findings=findings)
    root = parse(source.text, source=source, findings=findings) if source else None
    if source and root is None and not findings:
        findings.add(None, "is empty; a sweep file has at least the keys schema and name")
    if root is None:
        findings.raise_if_any()
        raise AssertionError("a file without a tree has a problem")
    if isinstance(root.value, dict):
        apply_overrides(root, overrides, findings=findings)
    outline = read_outline(root, findings=findings)
    specs = configurations(outline, identify=identify, findings=findings)
    if not findings:
        _check_baselines(outline, specs, findings=findings)
    findings.raise_if_any()
    axes = tuple(axis.path for axis in outline.axes)
    return Sweep(
        name=outline.name,
        question=outline.question,
        file=str(path),
        cells=cells_of(specs, axes=axes, seeds=outline.seeds, baselines=tuple(outline.baselines)),
        axes=axes,
    )


def _check_baselines(outline: Outline, specs: list[RunSpec], *, findings: Findings) -> None:
    """Report baselines that do nothing."""
    if not any(isinstance(spec.model.ffn, SparseFFNSpec) for spec in specs):
        for baseline, place in outline.baselines.items():
            findings.add(place, f"{baseline} makes dense twins of sparse configurations, and this sweep has none")
