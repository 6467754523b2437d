"""From the values of a cell to its run: every section and every cell checked as a whole, problems at their places."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from switchbench.errors import CorpusError
from switchbench.spec import DataIdentity, DataSpec, ModelSpec, RunSpec
from switchbench.sweep.document import Node, plain
from switchbench.sweep.fields import FFN, FIELDS, KINDS, RUN_PARTS, SECTIONS
from switchbench.sweep.outline import Outline
from switchbench.sweep.source import Findings, Place

_NO_IDENTITY = DataIdentity(fingerprint="unidentified", vocab_size=256)
"""Stands in where the corpus cannot be identified, so that the rest of a cell is checked all the same."""

Values = dict[str, Node]
"""The fields that a cell is given, by path; the others take their defaults."""


@dataclass(frozen=True)
class _Section:
    """A section of a cell, checked as a whole."""

    spec: BaseModel | None
    """None where its fields do not go together."""
    stand_in: BaseModel | None = None
    """Then: the section without one of these fields, so that the cell can be checked all the same."""
    left_out: str = ""
    """The path of that field."""


class Resolver:
    """Checks cells as a whole; each distinct section is checked once."""

    def __init__(self, outline: Outline, *, identify: Callable[[DataSpec], DataIdentity], findings: Findings) -> None:
        self._outline = outline
        self._identify = identify
        self._findings = findings
        self._sections: dict[tuple[str, tuple[int, ...]], _Section] = {}
        self._identities: dict[DataSpec, DataIdentity] = {}
        self._reported: set[tuple[Place | None, str]] = set()

    def resolve(self, given: Values, *, swept: Values) -> RunSpec | None:
        """The run that a cell's values describe; None, with problems found, if there is none."""
        sections = {section: self._section(section, given, swept=swept) for section in RUN_PARTS}
        data = sections["data"].spec
        identity = self._identity(data, given) if isinstance(data, DataSpec) else None
        parts = {name: section.spec or section.stand_in for name, section in sections.items()}
        if None in parts.values():
            return None
        fingerprint, vocab_size = identity or _NO_IDENTITY
        try:
            run = RunSpec.model_validate(parts | {"data_fingerprint": fingerprint, "vocab_size": vocab_size})
        except ValidationError as error:
            left_out = {section.left_out for section in sections.values()}
            self._report(error, section="", given=given, swept=swept, unknown=left_out)
            return None
        complete = identity is not None and all(section.spec is not None for section in sections.values())
        return run if complete else None

    def model(self, given: Values, *, swept: Values) -> ModelSpec | None:
        """The cell's model; None, with problems found, if it is no valid one."""
        spec = self._section("model", given, swept=swept).spec
        return spec if isinstance(spec, ModelSpec) else None

    def vocab_size(self, given: Values, *, swept: Values) -> int:
        """The vocabulary of the cell's data; that of bytes, with problems found, if they cannot be identified."""
        data = self._section("data", given, swept=swept).spec
        identity = self._identity(data, given) if isinstance(data, DataSpec) else None
        return (identity or _NO_IDENTITY).vocab_size

    def _section(self, section: str, given: Values, *, swept: Values) -> _Section:
        values = {path: node for path, node in given.items() if path.startswith(f"{section}.")}
        key = (section, tuple(map(id, values.values())))
        if key not in self._sections:
            try:
                self._sections[key] = _Section(_validated(section, values))
            except ValidationError as error:
                involved = self._report(error, section=section, given=given, swept=swept)
                self._sections[key] = _without_one_of(involved, section, values)
        return self._sections[key]

    def _identity(self, data: DataSpec, given: Values) -> DataIdentity | None:
        if any(path.startswith("data.") for path in self._outline.doubtful):
            return None
        if data not in self._identities:
            try:
                self._identities[data] = self._identify(data)
            except CorpusError as error:
                self._identities[data] = _NO_IDENTITY
                place = next((given[path].place for path in ("data.path", "data.corpus") if path in given), None)
                self._findings.add(place or self._place_of("data"), str(error))
        identity = self._identities[data]
        return None if identity is _NO_IDENTITY else identity

    def _report(
        self,
        error: ValidationError,
        *,
        section: str,
        given: Values,
        swept: Values,
        unknown: Collection[str] = (),
    ) -> list[str]:
        """Report what is wrong with a cell as a whole, at the most telling place and once for all cells.

        Returns:
            The fields that are involved.
        """
        all_involved: list[str] = []
        for one in error.errors():
            within = [str(part) for part in one["loc"] if part not in KINDS]
            path = ".".join([section, *within]).strip(".")
            text = str(one["ctx"]["error"]) if one["type"] == "value_error" else one["msg"]
            involved = _fields_named(text, section=path)
            all_involved += involved
            doubtful = self._outline.doubtful.union(unknown)
            if doubtful.intersection(involved) or (path and any(name.startswith(f"{path}.") for name in doubtful)):
                continue
            nodes = [swept[name] for name in involved if name in swept]
            nodes += [given[name] for name in involved if name in given]
            nodes += [node for name, node in swept.items() if name.startswith(path)]
            place = nodes[0].place if nodes else self._place_of(path)
            once = (place, re.sub(r"[\d.]+", "0", text))
            if once not in self._reported:
                self._reported.add(once)
                self._findings.add(place, f"{path}: {text}".removeprefix(": "))
        return all_involved

    def _place_of(self, path: str) -> Place | None:
        """Where a path stands in ``base``, or else the section around it."""
        places = self._outline.places
        while path and path not in places:
            path = path.rpartition(".")[0]
        return places.get(path)


def _validated(section: str, values: Values) -> BaseModel:
    content = _nested(values, section=section)
    if section == FFN.partition(".")[0]:
        content["ffn"] = {"kind": KINDS[0]} | content.get("ffn", {})
    return SECTIONS[section][0].model_validate(content)


def _without_one_of(involved: list[str], section: str, values: Values) -> _Section:
    for path in involved:
        try:
            stand_in = _validated(section, {name: node for name, node in values.items() if name != path})
        except ValidationError:
            continue
        return _Section(None, stand_in, path)
    return _Section(None)


def _nested(values: Values, *, section: str) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for path, node in values.items():
        *parents, name = path.removeprefix(f"{section}.").split(".")
        inner = content
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = plain(node)
    return content


def _fields_named(text: str, *, section: str) -> list[str]:
    """The fields that a message names, by their full path or as fields of its section."""
    words = re.findall(r"[A-Za-z_][\w.]*\w", text)
    paths = [word if word in FIELDS else f"{section}.{word}" for word in words]
    inner = [f"{FFN}.{word}" for word in words if section == FFN.partition(".")[0]]
    return [path for path in dict.fromkeys(paths + inner) if path in FIELDS]
