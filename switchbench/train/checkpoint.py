"""The state of an unfinished run in a file: it goes on from there, on one CPU thread to the same nll to the bit.

One safetensors file, renamed into place, so that a half-written one never counts: the tensors by name, and everything
else as JSON in its header. No pickle.
"""

import json
import os
import secrets
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path as FilePath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from switchbench.train.history import Path, RoutingSums, Window
from switchbench.train.steps import TrainState, restore_state, save_state

CHECKPOINT_SCHEMA = 1
"""Version of the file; an older one is not read: the run starts over."""
_DATACLASSES = {kind.__name__: kind for kind in (Path, Window, RoutingSums)}


@dataclass(kw_only=True)
class Position:
    """Where a run stands between two steps."""

    point_index: int = 0
    """Annealed points that are done."""
    trunk: Path = field(default_factory=Path)
    """The trunk so far."""
    cooldown: Path | None = None
    """The cooldown towards the next annealed point; None on the trunk."""
    trunk_state: dict[str, Any] | None = None
    """In a cooldown that comes back to the trunk: the trunk's state, from ``save_state``."""


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """What a checkpoint holds beside the state of model and optimizer."""

    position: Position
    """Where the run stood."""
    rows: dict[str, Any]
    """What had been recorded, from ``Recorder.as_json``."""


def save_checkpoint(path: FilePath, *, state: TrainState, position: Position, rows: dict[str, Any]) -> None:
    """Write the state of an unfinished run, atomically.

    Args:
        path: The file; its folder must exist.
        state: Model, optimizer and noise.
        position: Where the run stands.
        rows: What has been recorded, from ``Recorder.as_json``.

    Raises:
        OSError: it cannot be written; an earlier file is left as it was.
    """
    tensors: dict[str, Tensor] = {}
    content = {
        "schema": CHECKPOINT_SCHEMA,
        "run_id": state.spec.run_id,
        "torch_version": torch.__version__,
        "state": _pack(save_state(state), "state", tensors),
        "position": {f.name: _pack(getattr(position, f.name), f.name, tensors) for f in fields(position)},
        "rows": rows,
    }
    write_tensors(tensors, path, header={"run": json.dumps(content)})


def load_checkpoint(path: FilePath, *, state: TrainState) -> Unfinished | None:
    """Bring model, optimizer and noise to where an unfinished run stood.

    Args:
        path: The file.
        state: The fresh state of the same run; changed in place.

    Returns:
        The rest of it; None where there is no file, or none of this run in this version that can be read: the state is
        then as it was.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            content = json.loads((file.metadata() or {})["run"])
            if content["schema"] != CHECKPOINT_SCHEMA or content["run_id"] != state.spec.run_id:
                return None
            # A safetensors file is no mapping, for all that it has keys. Copied: what it gives is mapped from the file,
            # and is lost, with the process, when somebody shortens that.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    position = Position(**{name: _unpack(value, tensors) for name, value in content["position"].items()})
    restore_state(state, _unpack(content["state"], tensors))
    return Unfinished(position=position, rows=content["rows"])


def write_tensors(tensors: dict[str, Tensor], path: FilePath, *, header: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically.

    Args:
        tensors: By name.
        path: The file; its folder must exist.
        header: Goes into the file's header.

    Raises:
        OSError: it cannot be written; an earlier file is left as it was.
    """
    # A name of its own: two processes may write the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata=header)
        except SafetensorError as error:  # how it reports a full disk
            raise OSError(f"{path} cannot be written: {error}") from error
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Turn a value into JSON, and put its tensors aside under names of their own."""
    match value:
        case Tensor():
            tensors[name] = value
            return {"is": "tensor", "name": name}
        case dict():
            entries = [[key, _pack(entry, f"{name}.{key}", tensors)] for key, entry in value.items()]
            return {"is": "dict", "entries": entries}  # pairs: keys may be numbers
        case list() | tuple():
            return [_pack(entry, f"{name}.{index}", tensors) for index, entry in enumerate(value)]
        case None | bool() | int() | float() | str():
            return value
    assert is_dataclass(value), f"{name} is a {type(value).__name__}, which a checkpoint does not know"
    content = {f.name: _pack(getattr(value, f.name), f"{name}.{f.name}", tensors) for f in fields(value)}
    return {"is": type(value).__name__, "fields": content}


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case {"is": "tensor", "name": name}:
            return tensors[name]
        case {"is": "dict", "entries": entries}:
            return {key: _unpack(entry, tensors) for key, entry in entries}
        case {"is": kind, "fields": content}:
            return _DATACLASSES[kind](**{name: _unpack(entry, tensors) for name, entry in content.items()})
        case list():
            return [_unpack(entry, tensors) for entry in value]
        case _:
            return value
