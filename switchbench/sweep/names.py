"""The names that derived values and constraints can use: fields, and what follows from them by arithmetic."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from switchbench.cost import TRAIN_OVER_FORWARD, count_forward_flops, count_parameters
from switchbench.spec import SIZES, ModelSpec, RunSpec, default_d_ff
from switchbench.sweep.document import Node, plain
from switchbench.sweep.fields import FIELDS, KIND, KINDS, value_at

SHORT_NAMES = {field.name: path for path, field in reversed(FIELDS.items())}
"""The paths of the fields by their last part."""

# Fields whose default follows from others.
_FILLED_FROM = {
    **{f"model.{name}": ("model.size",) for name in SIZES["xxs"]._fields},
    "model.ffn.d_ff": ("model.d_model", "model.ffn.activation", "model.size"),
}

_MODEL = tuple(path for path in FIELDS if path.startswith(("data.", "model.")))
COMPUTED: dict[str, tuple[str, ...]] = {
    "vocab_size": tuple(path for path in FIELDS if path.startswith("data.")),
    "params_total": _MODEL,
    "params_active": _MODEL,
    "params_non_embedding": _MODEL,
    "forward_flops_per_token": _MODEL,
    "num_steps": ("train.tokens", "train.batch_tokens"),
    "useful_train_flops": (*_MODEL, "train.tokens", "train.batch_tokens"),
}
"""The names that are computed, and the fields that they depend on."""


def path_of(name: str) -> str | None:
    """The field that a name stands for; None where it is no field's.

    >>> path_of("num_experts"), path_of("train.tokens"), path_of("params_active")
    ('model.ffn.num_experts', 'train.tokens', None)
    """
    return name if name in FIELDS else SHORT_NAMES.get(name)


def all_names() -> list[str]:
    """Every name, the short ones first."""
    return [*SHORT_NAMES, *COMPUTED, *FIELDS]


def kinds_of(names: Iterable[str]) -> frozenset[str]:
    """The kinds of FFN whose cells have all of these names."""
    kinds = frozenset(KINDS)
    for name in names:
        path = path_of(name)
        kinds &= FIELDS[path].kinds if path else kinds
    return kinds


def dependencies(name: str, *, given: Collection[str]) -> set[str]:
    """The fields that a name's value depends on.

    Args:
        name: The name.
        given: The fields that all cells are given, so that no default fills them.
    """
    path = path_of(name)
    if path is None:
        return set(COMPUTED.get(name, ()))
    found = {path}
    for other in () if path in given else _FILLED_FROM.get(path, ()):
        found |= dependencies(other, given=given)
    return found


def field_value(path: str, values: Mapping[str, Node]) -> Any:
    """The value of a field in a cell: the given one, the one that the size fills in, or the default.

    Args:
        path: A field that the cell has.
        values: The fields that the cell is given.
    """
    if path in values:
        return plain(values[path])
    if path == KIND:
        return KINDS[0]
    if path == "model.ffn.d_ff":
        activation = field_value("model.ffn.activation", values)
        return default_d_ff(field_value("model.d_model", values), activation=activation)
    if path in _FILLED_FROM:
        return getattr(SIZES[field_value("model.size", values) or "xxs"], FIELDS[path].name)
    default = FIELDS[path].model.model_fields[FIELDS[path].name].default
    return list(default) if isinstance(default, tuple) else default


def computed_value(
    name: str, values: Mapping[str, Node], *, model: Callable[[], ModelSpec | None], vocab_size: Callable[[], int]
) -> Any:
    """The value of a computed name in a cell; None where the cell's model is no valid one.

    Args:
        name: One of ``COMPUTED``.
        values: The fields that the cell is given.
        model: Gives the cell's model, if it is valid.
        vocab_size: Gives its vocabulary, V.
    """
    if name == "vocab_size":
        return vocab_size()
    num_steps = -(-field_value("train.tokens", values) // field_value("train.batch_tokens", values))
    if name == "num_steps":
        return num_steps
    spec = model()
    if spec is None:
        return None
    if name.startswith("params_"):
        parameters = count_parameters(spec, vocab_size=vocab_size())
        return getattr(parameters, name.removeprefix("params_"))
    seq_len = field_value("data.seq_len", values)
    per_token = count_forward_flops(spec, vocab_size=vocab_size(), seq_len=seq_len).total
    if name == "forward_flops_per_token":
        return per_token
    return TRAIN_OVER_FORWARD * per_token * num_steps * field_value("train.batch_tokens", values)


def resolved_value(name: str, spec: RunSpec) -> Any:
    """The value of a name in a run that is resolved; None where its FFN, being of another kind, lacks the field.

    A dense run has one expert, and a shape that is no rung of the ladder is called by its width and depth, as in the
    columns of the results.

    Args:
        name: A field's path or short name, a computed name, or ``seed``.
        spec: The run.
    """
    path = path_of(name)
    if name == "seed":
        return spec.seed
    if path == "model.size":
        return spec.model.size_name
    if path is not None:
        value = value_at(spec, path)
        return 1 if value is None and path == "model.ffn.num_experts" else value
    if name == "vocab_size":
        return spec.vocab_size
    if name == "num_steps":
        return spec.train.num_steps
    if name.startswith("params_"):
        parameters = count_parameters(spec.model, vocab_size=spec.vocab_size)
        return getattr(parameters, name.removeprefix("params_"))
    per_token = count_forward_flops(spec.model, vocab_size=spec.vocab_size, seq_len=spec.data.seq_len).total
    if name == "forward_flops_per_token":
        return per_token
    return TRAIN_OVER_FORWARD * per_token * spec.train.num_steps * spec.train.batch_tokens
