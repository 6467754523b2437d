"""The check of a single value of a sweep file, in words that say what was got and what is allowed."""

from typing import Any

from pydantic import ValidationError

from switchbench.sweep.document import Node, describe, plain
from switchbench.sweep.fields import KIND, Field
from switchbench.sweep.source import Findings, did_you_mean

_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}


def check_value(field: Field, node: Node, *, findings: Findings, label: str | None = None) -> bool:
    """Check one value on its own; add what is wrong with it and return whether it can be used.

    Args:
        field: The field it is for.
        node: The value; no part of it may be broken.
        findings: Takes the problems.
        label: What the value is called in messages; default: the field's path.
    """
    label = label or field.path
    if isinstance(node.value, dict):
        findings.add(node.place, f"{label} must be {field.allowed}, got a mapping")
        return False
    if isinstance(node.value, list) != (field.item_noun is not None) and not (field.nullable and node.value is None):
        findings.add(node.place, f"{label} must be {field.allowed}, got {describe(node)}")
        return False
    if field.path == KIND:
        errors = [] if node.value in field.options else [{"type": "literal_error", "loc": (field.name,)}]
    elif field.noun == "true or false" and not isinstance(node.value, bool):
        errors = [{"type": "bool_type", "loc": (field.name,)}]  # pydantic would take 1, "yes" and "t"
    else:
        errors = _errors(field, plain(node))
    for error in errors:
        _add_problem(error, field=field, node=node, label=label, findings=findings)
    return not errors


def _errors(field: Field, value: Any) -> list[Any]:
    # The specification's other fields take their defaults or are missing: only what concerns this field counts.
    try:
        field.model.model_validate({field.name: value})
    except ValidationError as error:
        return [one for one in error.errors() if one["loc"][:1] == (field.name,)]
    return []


def _add_problem(error: Any, *, field: Field, node: Node, label: str, findings: Findings) -> None:
    noun = field.allowed
    index = error["loc"][1] if len(error["loc"]) > 1 else None
    if index is not None and isinstance(node.value, list):
        if index >= len(node.value):
            got = f"{len(node.value)} value{'s' * (len(node.value) != 1)}"
            findings.add(node.place, f"{label} must have {field.length} values, got {got}")
            return
        node, label, noun = node.value[index], f"{label}: value {index + 1}", field.item_noun or noun
    got = describe(node)
    match error["type"]:
        case "value_error" if isinstance(node.value, (str, bool)) and field.noun != "text":  # a number was wanted
            message = f"must be {noun}, got {got}"
        case "value_error":
            message = str(error["ctx"]["error"])
        case "too_long":
            message = f"must have {field.length} values, got {error['ctx']['actual_length']}"
        case "int_parsing_size":
            message = f"must be a whole number of at most 19 digits, got {got}"
        case bound if bound in _BOUNDS:
            words, key = _BOUNDS[bound]
            limit = error["ctx"][key]
            message = f"must be {words} {int(limit) if float(limit).is_integer() else limit}, got {got}"
        case "literal_error" | "bool_type" | "int_type" | "int_from_float" | "float_type" | "string_type":
            suggestion = ""
            if error["type"] == "literal_error" and isinstance(node.value, str):
                suggestion = did_you_mean(node.value, field.options)
            message = f"must be {noun}, got {got}" + ("." + suggestion if suggestion else "")
        case _:
            message = f"{error['msg'][:1].lower()}{error['msg'][1:]}, got {got}"
    findings.add(node.place, f"{label} {message}")
