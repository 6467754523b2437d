"""The JSON Schema of a sweep file, for editors: keys, types and bounds, read off the same table of fields."""

from typing import Any

from pydantic import BaseModel

from switchbench.spec import RunSpec
from switchbench.sweep.controls import EXPECTED
from switchbench.sweep.fields import FIELDS, KIND, KINDS, SECTIONS, Field, children
from switchbench.sweep.names import SHORT_NAMES, path_of
from switchbench.sweep.outline import FILE_SCHEMA, NAME
from switchbench.sweep.pair import BOUNDS, CONFIDENCE, MIN_EFFECT
from switchbench.sweep.tune import TUNABLE
from switchbench.sweep.twins import BASELINES

_EXPRESSION = {"type": "string", "description": "An expression, such as 20 * params_active."}
_REMOVED = {"type": "null", "description": "Takes away what the extended file has."}


def file_schema() -> dict[str, Any]:
    """Give the JSON Schema of a sweep file (draft 2020-12).

    It knows every key, what is allowed for each value on its own, and what the fields mean. What only a look at the
    whole file can tell, ``switchbench validate`` does.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep file of switchbench",
        **_mapping(
            {
                "schema": {"const": FILE_SCHEMA, "description": "Version of the language."},
                "name": {
                    "type": "string",
                    "pattern": f"^{NAME.pattern}$",
                    "description": "Name of the sweep, and of the folder of its results.",
                },
                "question": {"type": "string", "description": "The question that the sweep answers."},
                "expected": {"type": "string", "description": "What was expected before the first run."},
                "extends": {
                    "type": "string",
                    "minLength": 1,
                    "description": "A sweep file whose content this one adds to and replaces, from this file's folder.",
                },
                "base": _section("", "One complete run; every field has a default."),
                "sweep": _sweep(),
                "report": _report(),
            }
        ),
        "required": ["schema", "name"],
        "$defs": {path: _described(field) for path, field in FIELDS.items()} | {"when": _when()},
    }


def _mapping(properties: dict[str, Any], description: str | None = None) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {"type": "object", **described, "properties": properties, "additionalProperties": False}


def _section(section: str, description: str | None = None) -> dict[str, Any]:
    properties = {}
    for name in children(section):
        path = f"{section}.{name}".removeprefix(".")
        properties[name] = _section(path) if path in SECTIONS else _value(path)
    return _mapping(properties, description)


def _sweep() -> dict[str, Any]:
    values = {path: _value(path) for path in FIELDS}
    axes = {}
    for path, value in values.items():
        rows = {"type": "array", "minItems": 1, "items": value}
        conditional = _mapping({"values": rows, "when": {"$ref": "#/$defs/when"}}) | {"required": ["values"]}
        axes[path] = {"anyOf": [rows, conditional, _REMOVED]}
    tuned = {path: {"anyOf": [{"type": "array", "minItems": 2, "items": values[path]}, _REMOVED]} for path in TUNABLE}
    derived = {path: {"anyOf": [_EXPRESSION, _REMOVED]} for path in FIELDS if path != KIND}
    return _mapping(
        {
            "grid": _mapping(axes, "Axes, which multiply: field: [values], or {values: [...], when: {field: value}}."),
            "zip": {
                "type": "array",
                "description": "One axis made of whole rows, each with values of the same fields.",
                "items": {**_mapping(values), "minProperties": 1},
            },
            "derive": _mapping(derived, "Fields that are computed from others."),
            "constraints": {
                "type": "array",
                "description": "What every configuration must meet; one that does not is dropped, with the reason.",
                "items": {"type": "string", "description": "An expression that is true or false."},
            },
            "seeds": {
                "type": "array",
                "minItems": 1,
                "description": "Replicates of every configuration: averaged over, never an axis.",
                "items": _property(RunSpec, "seed"),
            },
            "tune": _mapping(
                tuned,
                "Fields whose best value is chosen for every configuration, by the nll of equally many tries: "
                "field: [values]. Beside one that dense configurations lack, a field of numbers that they have.",
            ),
            "tune_seeds": {
                "type": "array",
                "minItems": 1,
                "description": "Seeds of the tries, none of which is reported; one if it is left out.",
                "items": _property(RunSpec, "seed"),
            },
            "baselines": {
                "type": "array",
                "description": "Dense twins of every sparse configuration, by what the two have in common.",
                "items": {"enum": list(BASELINES)},
            },
        }
    )


def _report() -> dict[str, Any]:
    values = {name: _value(path_of(name) or name) for name in (*SHORT_NAMES, *FIELDS)}
    pair = _mapping(
        {
            "sparse": _mapping(values, "Values that one sparse configuration alone has."),
            "dense": {"enum": list(BASELINES), "description": "The baseline that makes its dense twin."},
        },
        "The pair that the verdict is about.",
    )
    side = _mapping(values, "Values that one configuration alone has.")
    control = _mapping(
        {
            "name": {"type": "string", "minLength": 1, "maxLength": 80, "description": "What it is called."},
            "a": side,
            "b": side,
            "expect": {"enum": list(EXPECTED), "description": "Which side is to be better; none: neither."},
        }
    ) | {"required": ["name", "a", "b"]}
    return _mapping(
        {
            "primary": pair,
            "min_effect": {
                "type": "number",
                "exclusiveMinimum": BOUNDS["min_effect"][0],
                "exclusiveMaximum": BOUNDS["min_effect"][1],
                "default": MIN_EFFECT,
                "description": "The smallest difference in quality that matters, as a share of the dense twin's.",
            },
            "confidence": {
                "type": "number",
                "exclusiveMinimum": BOUNDS["confidence"][0],
                "exclusiveMaximum": BOUNDS["confidence"][1],
                "default": CONFIDENCE,
                "description": "How sure a verdict must be.",
            },
            "controls": {
                "type": "array",
                "description": "Pairs whose outcome is known beforehand, which a report is checked by.",
                "items": control,
            },
        }
    )


def _when() -> dict[str, Any]:
    conditions = {
        path: {"anyOf": [_value(path), {"type": "array", "minItems": 1, "items": _value(path)}]}
        for path, field in FIELDS.items()
        if field.item_noun is None
    }
    description = "Keeps the axis off cells in which one of these fields has none of these values."
    return _mapping(conditions, description) | {"minProperties": 1}


def _value(path: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{path}"}


def _described(field: Field) -> dict[str, Any]:
    if field.path == KIND:
        return {"enum": list(KINDS), "description": "Dense or sparse feed-forward layers."}
    return _property(field.model, field.name)


def _property(model: type[BaseModel], name: str) -> dict[str, Any]:
    described = dict(model.model_json_schema()["properties"][name])
    described.pop("title", None)
    return described
