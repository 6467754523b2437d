"""The fields that a sweep file can set, by dotted path relative to ``base``, and what to say of a key that is none.

The table is read off the specifications, so that a new field of a specification needs no line here.
"""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from switchbench.spec import DataSpec, DenseFFNSpec, ModelSpec, RunSpec, SparseFFNSpec, TrainSpec
from switchbench.sweep.source import closest

FFN = "model.ffn"
KIND = "model.ffn.kind"

SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "data": (DataSpec,),
    "model": (ModelSpec,),
    FFN: (DenseFFNSpec, SparseFFNSpec),
    "train": (TrainSpec,),
}
"""The mappings of ``base``, and the specifications that one of them may become."""
RUN_PARTS = tuple(section for section in SECTIONS if "." not in section)
"""The sections that are fields of a run."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One value that a sweep file can set."""

    path: str
    """Dotted path relative to ``base``."""
    name: str
    """The path's last part."""
    model: type[BaseModel]
    """A specification that has the field."""
    kinds: frozenset[str]
    """The kinds of FFN whose cells have the field; all of them outside ``model.ffn``."""
    noun: str
    """What the value is: `a number`, `text` ..."""
    item_noun: str | None
    """For a list: what its items are."""
    length: int | None
    """For a list: its length, where that is fixed."""
    options: tuple[str, ...]
    """For a choice: what there is to choose from."""
    nullable: bool
    """Whether null is allowed."""

    @property
    def allowed(self) -> str:
        """What the value may be, in words."""
        return f"{self.noun}, or null" if self.nullable else self.noun


def _kind_of(model: type[BaseModel]) -> str:
    return str(typing.get_args(model.model_fields["kind"].annotation)[0])


KINDS = tuple(_kind_of(model) for model in SECTIONS[FFN])
"""The kinds of FFN; the first is the default."""


def field_of(path: str, model: type[BaseModel], *, kinds: frozenset[str]) -> Field:
    """Describe one field of a specification."""
    name = path.rpartition(".")[2]
    annotation, nullable = _without_none(model.model_fields[name].annotation)
    items = typing.get_args(annotation) if typing.get_origin(annotation) is tuple else ()
    options = tuple(map(str, typing.get_args(annotation))) if typing.get_origin(annotation) is Literal else ()
    if path == KIND:  # each specification knows its own kind alone
        options = KINDS
    return Field(
        path=path,
        name=name,
        model=model,
        kinds=kinds,
        noun=_one_of(options) if options else _noun(annotation),
        item_noun=_noun(items[0]) if items else None,
        length=len(items) if items and items[-1] is not Ellipsis else None,
        options=options,
        nullable=nullable,
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        others = [part for part in typing.get_args(annotation) if part is not type(None)]
        if len(others) == 1:
            return others[0], True
    return annotation, False


def _noun(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) is tuple:
        return "a list of numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[annotation]


def _all_fields() -> Iterator[Field]:
    for section, models in SECTIONS.items():
        names = dict.fromkeys(name for model in models for name in model.model_fields)
        for name in names:
            path = f"{section}.{name}"
            if path in SECTIONS:
                continue
            having = [model for model in models if name in model.model_fields]
            kinds = frozenset(map(_kind_of, having)) if section == FFN else frozenset(KINDS)
            yield field_of(path, having[0], kinds=kinds)


def _one_of(options: tuple[str, ...]) -> str:
    quoted = [repr(option) for option in options]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


FIELDS = {field.path: field for field in _all_fields()}
"""All fields by path."""
SEED = field_of("seed", RunSpec, kinds=frozenset(KINDS))
"""A run's seed, which ``sweep.seeds`` sets."""


def value_at(spec: RunSpec, path: str) -> Any:
    """The resolved value of a field of a run; None where its FFN, being of another kind, has no such field."""
    value: Any = spec
    for name in path.split("."):
        value = getattr(value, name, None)
    return list(value) if isinstance(value, tuple) else value


def children(section: str) -> list[str]:
    """The names of a section's fields and sections; those of ``base`` itself are those of the empty path."""
    paths = [*FIELDS, *SECTIONS]
    return [path.rpartition(".")[2] for path in paths if path.rpartition(".")[0] == section]


# Where each key is at home; under ``base`` relative to it, as everywhere in the messages.
_HOMES: dict[str, str] = {
    **dict.fromkeys(("grid", "zip", "derive", "constraints", "seeds", "tune", "tune_seeds", "baselines"), "sweep"),
    **dict.fromkeys(("primary", "min_effect", "confidence", "controls"), "report"),
    **dict.fromkeys(RUN_PARTS, "base"),
    "ffn": "model",
    **{field.name: path.rpartition(".")[0] for path, field in reversed(FIELDS.items())},
    **dict.fromkeys(("schema", "name", "question", "expected", "extends", "base", "sweep", "report"), ""),
}


def explain_unknown(key: str, *, allowed: list[str], outside_base: bool = False) -> tuple[str, str | None]:
    """What to say of an unknown key: where it belongs, what it is close to, or what is allowed.

    Args:
        key: The key.
        allowed: The keys that are allowed in its place.
        outside_base: Whether its place is not under ``base``, so that fields need their full path.

    Returns:
        The sentence; and the path of the field that is probably meant, if there is one.
    """
    name = key.rpartition(".")[2]
    if name in _HOMES and name not in allowed:
        return f"'{name}' belongs {_home(name, outside_base=outside_base)}.", _path(name)
    match = closest(key, allowed)
    if match is not None:
        return f"Did you mean '{match}'?", _path(match)
    match = closest(name, _HOMES)
    if match is not None:
        return f"Did you mean '{match}' {_home(match, outside_base=outside_base)}?", _path(match)
    return f"Allowed: {', '.join(allowed)}.", None


def explain_unknown_axis(path: str) -> tuple[str, str | None]:
    """What to say of an axis of the grid that names no field; as :func:`explain_unknown`."""
    section, _, name = path.rpartition(".")
    if path in SECTIONS:
        return f"It is a section; name one of its fields, such as {path}.{children(path)[0]}.", None
    meant = _path(name) or _path(closest(name, children(section)) or "") or _path(closest(name, _HOMES) or "")
    if meant is not None:
        return f"Did you mean '{meant}'?", meant
    return "An axis is the dotted path of a field, such as model.ffn.num_experts.", None


def _home(name: str, *, outside_base: bool) -> str:
    home = _HOMES[name]
    if not home:
        return "at the top of the file, not indented"
    return f"in base.{home}" if outside_base and home in SECTIONS else f"in {home}"


def _path(name: str) -> str | None:
    path = f"{_HOMES[name]}.{name}" if name in _HOMES else name
    return path if path in FIELDS else None
