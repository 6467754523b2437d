"""Reads a sweep file: YAML in, checked runs out, or every problem at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from switchbench.spec import DataIdentity, DataSpec
from switchbench.sweep.cells import Sweep, Twins, cells_of, twins_of
from switchbench.sweep.controls import Control, find_controls
from switchbench.sweep.document import plain
from switchbench.sweep.expand import configurations
from switchbench.sweep.outline import read_outline
from switchbench.sweep.overrides import apply_overrides
from switchbench.sweep.pair import find_primary
from switchbench.sweep.parents import read_tree
from switchbench.sweep.source import Findings
from switchbench.sweep.tune import check_equal_tries
from switchbench.sweep.tuning import with_tuning


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
    root = read_tree(path, findings=findings)
    if root is None:
        findings.raise_if_any()
        raise AssertionError("a file without a tree has a problem")
    if isinstance(root.value, dict):
        apply_overrides(root, overrides, findings=findings)
    outline = read_outline(root, findings=findings)
    specs, dropped = configurations(outline, identify=identify, findings=findings)
    axes = tuple(path for axis in outline.axes for path in axis.places)
    twins: Twins = {}
    primary = None
    controls: tuple[Control, ...] = ()
    if not findings:
        twins = twins_of(specs, baselines=outline.baselines, findings=findings)
    named = outline.report.primary
    if named is not None and not findings:
        primary = find_primary(named, specs, dropped=dropped, axes=axes, twins=twins, findings=findings)
    made = [twin for each in twins.values() for twin in each.values()]
    if not findings:
        every = list({spec.config_id: spec for spec in (*specs, *made)}.values())
        controls = find_controls(outline.report.controls, every, dropped=dropped, axes=axes, findings=findings)
    if outline.tune and not findings:
        check_equal_tries(outline.tune, [*specs, *made], findings=findings)
    findings.raise_if_any()
    sweep = Sweep(
        name=outline.name,
        question=outline.question,
        expected=outline.expected,
        file=str(path),
        cells=cells_of(specs, axes=axes, seeds=outline.seeds, twins=twins),
        axes=axes,
        dropped=tuple(dropped),
        primary=primary,
        controls=controls,
        min_effect=outline.report.min_effect,
        confidence=outline.report.confidence,
    )
    if not outline.tune:
        return sweep
    grid = {axis.path: [plain(node) for node in axis.values] for axis in outline.tune}
    return with_tuning(sweep, grid=grid, seeds=outline.tune_seeds)
