"""The outline of a sweep: what a file says, checked key by key and value by value, before cells are made from it."""

import re
from dataclasses import dataclass, field

from switchbench.sweep.axes import Axis, read_grid, read_zip
from switchbench.sweep.document import BROKEN, Entry, Node, describe, has_broken, plain
from switchbench.sweep.entries import as_written, is_of, items_of, known_entries
from switchbench.sweep.fields import FIELDS, KIND, KINDS, SECTIONS, SEED, children
from switchbench.sweep.formulas import Formula, read_constraints, read_derive
from switchbench.sweep.names import kinds_of
from switchbench.sweep.pair import ReportSettings, read_report
from switchbench.sweep.source import Findings, Place, did_you_mean
from switchbench.sweep.tune import TuneAxis, check_conditions, check_formulas, check_named, read_tune, read_tune_seeds
from switchbench.sweep.twins import BASELINES, Baseline
from switchbench.sweep.values import check_value

FILE_SCHEMA = 1
"""Version of the sweep file's language."""
ROOT_KEYS = ["schema", "name", "question", "expected", "extends", "base", "sweep", "report"]
EQUAL_TIME = "iso_time"
"""What can be compared, but not trained."""
SWEEP_KEYS = ["grid", "zip", "derive", "constraints", "seeds", "tune", "tune_seeds", "baselines"]

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}")
_RESERVED_NAME = "reference"


@dataclass
class Outline:
    """What a sweep file says, as far as it could be read."""

    name: str = ""
    question: str = ""
    expected: str = ""
    base: dict[str, Node] = field(default_factory=dict)
    """The fields that ``base`` gives, by path."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where the keys of ``base`` stand: by path, ``base`` itself under the empty path."""
    axes: list[Axis] = field(default_factory=list)
    """The axes of the grid, and then that of the zip."""
    axes_place: Place | None = None
    """Where the first key of axes stands, ``grid`` or ``zip``."""
    derive: dict[str, Formula] = field(default_factory=dict)
    """The fields that are computed, in an order in which they can be."""
    constraints: list[Formula] = field(default_factory=list)
    """What every configuration must meet."""
    seeds: tuple[int, ...] = (0,)
    seeds_place: Place | None = None
    tune: list[TuneAxis] = field(default_factory=list)
    """What is tuned."""
    tune_seeds: tuple[int, ...] = ()
    """The seeds of the tries."""
    baselines: dict[Baseline, Place] = field(default_factory=dict)
    """The baselines, and where they stand."""
    report: ReportSettings = field(default_factory=ReportSettings)
    """The pair that the sweep's verdict is about, what that takes, and the controls."""
    doubtful: set[str] = field(default_factory=set)
    """Fields whose real value is unknown since something is wrong with it: nothing more is said about those."""


def read_outline(root: Node, *, findings: Findings) -> Outline:
    """Read a file's tree, adding everything that is wrong in it on its own to the findings."""
    outline = Outline()
    entries = known_entries(root, ROOT_KEYS, label="", doubtful=outline.doubtful, findings=findings)
    if entries is None:
        outline.doubtful.update(FIELDS)
        return outline
    check_schema(entries.get("schema"), findings=findings)
    outline.name = _read_name(entries.get("name"), findings=findings)
    if "question" in entries and is_of(str, entries["question"].node, "question must be text", findings=findings):
        outline.question = str(entries["question"].node.value)
    if "expected" in entries and is_of(str, entries["expected"].node, "expected must be text", findings=findings):
        outline.expected = str(entries["expected"].node.value)
    if "base" in entries:
        outline.places[""] = entries["base"].place
        _read_section("", entries["base"].node, outline=outline, findings=findings)
    if "sweep" in entries:
        _read_sweep(entries["sweep"].node, outline=outline, findings=findings)
    if "report" in entries:
        outline.report = read_report(entries["report"], baselines=outline.baselines, findings=findings)
        check_named(outline.tune, outline.report, findings=findings)
    if "extends" in entries:  # a file's own was taken out when its parent was read
        message = "extends is resolved before settings from the command line; write it into the file"
        findings.add(entries["extends"].place, message)
    _check_kinds(outline, findings=findings)
    return outline


def _read_sweep(node: Node, *, outline: Outline, findings: Findings) -> None:
    doubtful = outline.doubtful
    swept = known_entries(node, SWEEP_KEYS, label="sweep", doubtful=doubtful, findings=findings)
    if swept is None:
        doubtful.update(FIELDS)
        return
    grid = read_grid(swept.get("grid"), doubtful=doubtful, findings=findings)
    outline.axes = grid + read_zip(swept.get("zip"), grid=grid, doubtful=doubtful, findings=findings)
    outline.axes_place = next((swept[key].place for key in ("grid", "zip") if key in swept), None)
    outline.derive = read_derive(swept.get("derive"), axes=outline.axes, doubtful=doubtful, findings=findings)
    outline.constraints = read_constraints(swept.get("constraints"), findings=findings)
    for axis in outline.axes:
        for path in outline.derive.keys() & axis.when.keys():
            findings.add(axis.when_places[path], f"{axis.name}: when cannot ask for {path}, which is derived")
    _read_seeds(swept.get("seeds"), outline=outline, findings=findings)
    tune = swept.get("tune")
    outline.tune = read_tune(tune, axes=outline.axes, doubtful=doubtful, findings=findings)
    outline.tune_seeds = read_tune_seeds(swept.get("tune_seeds"), tune=tune, seeds=outline.seeds, findings=findings)
    formulas = [*outline.derive.values(), *outline.constraints]
    check_formulas(outline.tune, formulas, derive=outline.derive, findings=findings)
    check_conditions(outline.tune, outline.axes, findings=findings)
    _read_baselines(swept.get("baselines"), outline=outline, findings=findings)


def check_schema(entry: Entry | None, *, findings: Findings) -> None:
    """Check the version that a file says it is written in."""
    if entry is None:
        findings.add(None, f"the key `schema: {FILE_SCHEMA}` is missing")
    elif entry.node.value is not BROKEN and (isinstance(entry.node.value, bool) or entry.node.value != FILE_SCHEMA):
        message = f"schema must be {FILE_SCHEMA}, the one version that this program reads, got {describe(entry.node)}"
        findings.add(entry.node.place, message)


def _read_name(entry: Entry | None, *, findings: Findings) -> str:
    if entry is None:
        findings.add(None, "the key `name` is missing; the results go into a folder of that name")
        return ""
    node = entry.node
    if not is_of(str, node, "name must be text (in quotes if it looks like a number)", findings=findings):
        return ""
    problem = name_problem(str(node.value))
    if problem:
        findings.add(node.place, problem)
    return str(node.value)


def name_problem(name: str) -> str | None:
    """What is wrong with a sweep's name, if anything is."""
    if not NAME.fullmatch(name):
        rule = "1 to 80 letters (a-z, A-Z), digits, '-', '_' and '.', not beginning with '.'"
        return f"name must be {rule}, since it names a folder; got {name[:100]!r}"
    if name.lower() == _RESERVED_NAME:
        return f"name {name!r} is reserved for the committed reference results"
    return None


def _read_section(section: str, node: Node, *, outline: Outline, findings: Findings) -> None:
    """Read a section of ``base``, or ``base`` itself, whose path is empty."""
    entries = known_entries(
        node,
        children(section),
        label=section or "base",
        doubtful=outline.doubtful,
        findings=findings,
    )
    if entries is None:
        outline.doubtful.update(path for path in FIELDS if path.startswith(section))
        return
    for key, entry in entries.items():
        path = f"{section}.{key}" if section else key
        outline.places[path] = entry.place
        if path in SECTIONS:
            _read_section(path, entry.node, outline=outline, findings=findings)
        elif not has_broken(entry.node) and check_value(FIELDS[path], entry.node, findings=findings):
            outline.base[path] = entry.node
        else:
            outline.doubtful.add(path)


def _read_seeds(entry: Entry | None, *, outline: Outline, findings: Findings) -> None:
    if entry is None:
        return
    outline.seeds_place = entry.place
    items = items_of(entry.node, label="sweep.seeds", what="it", example="[0, 1, 2]", findings=findings)
    seeds: dict[int, None] = {}
    for item in items or []:
        if has_broken(item) or not check_value(SEED, item, label="sweep.seeds: a seed", findings=findings):
            continue
        if plain(item) in seeds:
            findings.add(item.place, f"sweep.seeds has the seed {as_written(item)} twice")
        seeds[plain(item)] = None
    outline.seeds = tuple(seeds)


def _read_baselines(entry: Entry | None, *, outline: Outline, findings: Findings) -> None:
    if entry is None or entry.node.value == []:  # an override may take all baselines away
        return
    example = f"[{BASELINES[0]}]"
    items = items_of(entry.node, label="sweep.baselines", what="it", example=example, findings=findings)
    for item in items or []:
        baseline = next((name for name in BASELINES if name == item.value), None)
        if baseline is not None:
            if baseline in outline.baselines:
                findings.add(item.place, f"sweep.baselines has {baseline!r} twice")
            outline.baselines.setdefault(baseline, item.place)
        elif item.value == EQUAL_TIME:
            findings.add(
                item.place,
                f"{EQUAL_TIME!r} is not a baseline to train, since a measured time must not change what a run is: the "
                "report compares at equal training time by itself, between the annealed points of dense runs. Take it "
                f"out; allowed: {', '.join(BASELINES)}",
            )
        elif item.value is not BROKEN:
            suggestion = did_you_mean(item.value, BASELINES) if isinstance(item.value, str) else ""
            allowed = f"allowed: {', '.join(BASELINES)}"
            findings.add(item.place, f"{describe(item)} is not a baseline; {allowed}.{suggestion}")


def _check_kinds(outline: Outline, *, findings: Findings) -> None:
    """Report fields that no cell can have, since no cell's FFN is of a kind that has them."""
    if KIND in outline.doubtful:
        return
    swept = [row[KIND] for axis in outline.axes for row in axis.rows if KIND in row]
    given = swept or ([outline.base[KIND]] if KIND in outline.base else [])
    kinds = {str(node.value) for node in given} or {KINDS[0]}
    is_now = f"{'is' if given else 'is by default'} {' or '.join(map(repr, sorted(kinds)))}"

    def check(what: str, having: frozenset[str], place: Place) -> None:
        if having.isdisjoint(kinds):
            message = (
                f"{what} of {' and '.join(sorted(having))} FFNs alone, and {KIND} {is_now}. "
                f"Set {KIND} to {' or '.join(map(repr, sorted(having)))}, or put it on an axis of the grid"
            )
            findings.add(place, message)

    places = [(path, place) for axis in outline.axes for path, place in axis.places.items()]
    places += [(path, outline.places[path]) for path in outline.base]
    places += [(path, formula.place()) for path, formula in outline.derive.items()]
    places += [(axis.path, axis.place) for axis in outline.tune]
    for path, place in places:
        check(f"{path} is a field", FIELDS[path].kinds, place)
    for formula in outline.constraints:
        for name, column in formula.expression.names.items():
            check(f"this constraint does nothing: {name} is a field", kinds_of([name]), formula.place(column))
