"""The Arrow schemas of the tables, derived from the records: always written in full, never inferred from data."""

import types
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pyarrow.json import ParseOptions, ReadOptions, read_json

from switchbench.record import RunRecord, StepRecord, TimingRecord

Record = RunRecord | StepRecord | TimingRecord
"""A row of one of the tables."""

SCHEMA_VERSION_KEY = b"switchbench.schema_version"
"""Metadata key of the table's version, in decimal digits."""
SPEC_KEY = b"switchbench.spec"
"""Metadata key of the resolved specification, as JSON."""

_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


@cache
def arrow_schema(record: type[Record]) -> pa.Schema:
    """The schema of a record's table: a column per field, in order, with the field's description as its metadata.

    Every column may be null, also those of required fields: the readers of other tools refuse to join files that differ
    in what may be null, and such a file may exist one day.
    """
    return pa.schema(
        pa.field(name, _arrow_type(field.annotation), metadata={"description": field.description or ""})
        for name, field in record.model_fields.items()
    )


def table_of_json(rows: Iterable[str], schema: pa.Schema) -> pa.Table:
    """Make a table of rows written as JSON objects: pyarrow's converters of Python's own values import pandas.

    Args:
        rows: At least one, each of one line; what a row lacks is null.
        schema: Of the table.
    """
    lines = "\n".join(rows).encode()
    table = read_json(
        pa.BufferReader(lines),
        read_options=ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=ParseOptions(explicit_schema=schema),
    )
    return table.select(schema.names).cast(schema)


def _arrow_type(annotation: Any) -> pa.DataType:
    """The column type of an annotation: ``str | None`` is a string, ``list[float]`` a list of float64."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal and all(isinstance(argument, str) for argument in arguments):
        return pa.string()
    if origin is list:
        return pa.list_(_arrow_type(arguments[0]))
    if origin in (Union, types.UnionType):
        (only,) = (argument for argument in arguments if argument is not type(None))
        return _arrow_type(only)
    raise TypeError(f"no column type is known for the annotation {annotation}")
