"""Which fields of two specifications differ, and which of one differ from their defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from switchbench.sweep.fields import FIELDS

NOT_IDENTITY = ("data.path", "data.tokenizer_path", "model.size", "train.keep_checkpoint")
"""Fields that are no part of a run's identity: what they lead to is, if it changes the result."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A field in which two specifications differ."""

    field: str
    """Its path."""
    first: Any
    """Its value in the first one; None also where that has no such field."""
    second: Any
    """Its value in the second one, likewise."""

    @property
    def is_identity(self) -> bool:
        """Whether the field is part of a run's identity."""
        return self.field not in NOT_IDENTITY


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Difference]:
    """Compare two specifications field by field.

    Args:
        first: A specification, as a manifest or a result holds it.
        second: Another one.

    Returns:
        The fields that differ, those of the identity first, otherwise in the order of the specification.
    """
    left, right = flat(first), flat(second)
    found = [
        Difference(field=path, first=left.get(path), second=right.get(path))
        for path in dict.fromkeys([*left, *right])
        if left.get(path) != right.get(path) or (path in left) != (path in right)
    ]
    return sorted(found, key=lambda each: not each.is_identity)


def chosen_fields(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a specification that differ from their defaults, or have none, by path.

    Args:
        spec: The specification.
    """
    return {path: value for path, value in flat(spec).items() if path not in FIELDS or value != default_of(path)}


def default_of(path: str) -> Any:
    """The default of a field; None also where it has none of its own."""
    field = FIELDS[path].model.model_fields[FIELDS[path].name]
    if field.is_required():
        return None
    return list(field.default) if isinstance(field.default, tuple) else field.default


def flat(spec: Mapping[str, Any], *, above: str = "") -> dict[str, Any]:
    """Lay a specification out as values by path.

    Args:
        spec: The specification.
        above: The path of the section that it is.

    >>> flat({"model": {"d_model": 32, "ffn": {"kind": "dense"}}, "seed": 0})
    {'model.d_model': 32, 'model.ffn.kind': 'dense', 'seed': 0}
    """
    values: dict[str, Any] = {}
    for name, value in spec.items():
        values |= flat(value, above=f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return values
