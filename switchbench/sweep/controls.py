"""Pairs whose outcome is known beforehand, by which a sweep is checked: ``report.controls``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from switchbench.spec import RunSpec
from switchbench.sweep.document import BROKEN, Entry, Node, describe
from switchbench.sweep.entries import is_of, items_of, known_entries
from switchbench.sweep.formulas import Dropped
from switchbench.sweep.selection import find_selected, read_selection
from switchbench.sweep.source import Findings, Place, did_you_mean

Expected = Literal["none", "a", "b"]
"""Which side is to be better; ``none``: neither."""
EXPECTED: tuple[Expected, ...] = get_args(Expected)
CONTROL_KEYS = ["name", "a", "b", "expect"]
SIDES = ("a", "b")
EXAMPLE = "{name: identical, a: {replicate: 0}, b: {replicate: 1}, expect: none}"


@dataclass(frozen=True, kw_only=True)
class ControlPair:
    """A control as the file names it."""

    name: str
    """What it is called."""
    place: Place
    """Where it stands."""
    a: dict[str, Node]
    """Fields and their values, which one configuration alone has; by path."""
    b: dict[str, Node]
    """The same of the other."""
    expect: Expected | None
    """Which side is to be better; None: nothing was said."""

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"report.controls: {self.name!r}"


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control as it was found."""

    name: str
    """What it is called."""
    a: str
    """The ``config_id`` of the one."""
    b: str
    """The ``config_id`` of the other."""
    expect: Expected | None
    """Which side is to be better; None: nothing was said."""


def read_controls(entry: Entry, *, findings: Findings) -> tuple[ControlPair, ...]:
    """Read ``report.controls``.

    Args:
        entry: The entry.
        findings: Takes the problems; a control with one is left out.
    """
    if entry.node.value == []:  # an override may take all controls away
        return ()
    items = items_of(entry.node, label="report.controls", what="it", example=f"[{EXAMPLE}]", findings=findings)
    read = [_read_control(item, findings=findings) for item in items or []]
    controls: dict[str, ControlPair] = {}
    for control in read:
        if control is not None and control.name in controls:
            findings.add(control.place, f"report.controls has the name {control.name!r} twice")
        elif control is not None:
            controls[control.name] = control
    return tuple(controls.values())


def _read_control(item: Node, *, findings: Findings) -> ControlPair | None:
    parts = known_entries(item, CONTROL_KEYS, label="report.controls", doubtful=set(), findings=findings)
    if parts is None:
        return None
    lacking = [key for key in ("name", *SIDES) if key not in parts]
    for key in lacking:
        findings.add(item.place, f"a control of report.controls lacks the key {key}; it is such as {EXAMPLE}")
    name = _read_name(parts["name"].node, findings=findings) if "name" in parts else None
    label = "report.controls" if name is None else f"report.controls: {name!r}"
    a, b = (
        read_selection(parts[side].node, label=f"{label}, {side}", example=EXAMPLE, findings=findings)
        if side in parts
        else {}
        for side in SIDES
    )
    expect = _read_expected(parts["expect"].node, label=label, findings=findings) if "expect" in parts else None
    if name is None or lacking:
        return None
    return ControlPair(name=name, place=item.place, a=a, b=b, expect=expect)


def _read_name(node: Node, *, findings: Findings) -> str | None:
    if not is_of(str, node, "the name of a control must be text", findings=findings):
        return None
    name = str(node.value)
    if not name or not name.isprintable() or len(name) > 80:
        findings.add(node.place, f"the name of a control must be 1 to 80 characters on one line, got {name[:100]!r}")
        return None
    return name


def _read_expected(node: Node, *, label: str, findings: Findings) -> Expected | None:
    chosen = next((each for each in EXPECTED if each == node.value), None)
    if chosen is None and node.value is not BROKEN:
        suggestion = did_you_mean(node.value, EXPECTED) if isinstance(node.value, str) else ""
        message = f"{label}: expect must be none (neither is better), a or b, got {describe(node)}"
        findings.add(node.place, message + ("." + suggestion if suggestion else ""))
    return chosen


def find_controls(
    pairs: Sequence[ControlPair],
    specs: Sequence[RunSpec],
    *,
    dropped: Sequence[Dropped],
    axes: Sequence[str],
    findings: Findings,
) -> tuple[Control, ...]:
    """Find the two configurations of every control.

    Args:
        pairs: The controls as the file names them.
        specs: All configurations, dense twins included, each once.
        dropped: The configurations that constraints keep out, for the messages.
        axes: Paths of the swept fields.
        findings: Takes the problems; a control with one is left out.
    """
    controls = []
    for pair in pairs:
        a, b = (
            find_selected(
                values,
                specs,
                place=pair.place,
                label=f"{pair.label}, {side}",
                noun="configuration",
                dropped=dropped,
                axes=axes,
                findings=findings,
            )
            for side, values in zip(SIDES, (pair.a, pair.b), strict=True)
        )
        if a is None or b is None:
            continue
        if a.config_id == b.config_id:
            message = "a and b name the same configuration; two that are alike but for noise differ in train.replicate"
            findings.add(pair.place, f"{pair.label}: {message}")
        elif a.data_fingerprint != b.data_fingerprint:
            findings.add(pair.place, f"{pair.label}: a and b are evaluated on different text, so no nll compares them")
        else:
            controls.append(Control(name=pair.name, a=a.config_id, b=b.config_id, expect=pair.expect))
    return tuple(controls)
