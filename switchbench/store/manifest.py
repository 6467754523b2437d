"""The manifest: the cells of a sweep as they were expanded, so that a report needs no sweep file."""

import contextlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from switchbench.errors import ResultsFolderError
from switchbench.store.folder import SweepFolder, as_utf8, write_atomically

MANIFEST_SCHEMA = 1
"""Version of the manifest; raised when the meaning of a field changes, not when one is added."""


class ManifestCell(BaseModel):
    """One run that the sweep asks for."""

    # Fields that a later version adds are passed over; a changed meaning raises the schema instead.
    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str = Field(description="Identity of the run.")
    config_id: str = Field(description="Identity of its configuration: the run without its seed.")
    seed: int = Field(description="Seed of weights and data order.")
    role: Literal["sparse", "dense", "tuning"] = Field(
        description="The kind of its FFN; tuning: a try, whose result is for the choice of a value and in no table."
    )
    twin_of: tuple[str, ...] = Field(
        (), description="Configurations whose dense twin, of equal FLOPs per token, this is."
    )
    twins: dict[str, tuple[str, ...]] = Field(
        {}, description="The configurations whose dense twin this is, by what the two have in common."
    )
    settings: dict[str, Any] = Field(
        {}, description="The swept settings of this cell, by their path in the sweep file."
    )
    spec: dict[str, Any] = Field(description="The resolved specification.")

    @property
    def kind(self) -> str:
        """The kind of its FFN, whatever its role."""
        return str(self.spec["model"]["ffn"]["kind"]) if self.role == "tuning" else self.role

    @model_validator(mode="before")
    @classmethod
    def _fill_twins(cls, values: Any) -> Any:
        """Read what was written when twins were of equal FLOPs alone."""
        if isinstance(values, dict) and values.get("twin_of") and not values.get("twins"):
            return values | {"twins": {"iso_flop": values["twin_of"]}}
        return values


class PrimaryPair(BaseModel):
    """The pair of configurations that the sweep's verdict is about."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sparse: str = Field(description="Its sparse configuration.")
    dense: str = Field(description="The dense twin of that.")
    matched_on: str = Field(description="What the two have in common.")


class Control(BaseModel):
    """Two configurations whose outcome is known beforehand, which the sweep is checked by."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(description="What it is called.")
    a: str = Field(description="The one configuration.")
    b: str = Field(description="The other.")
    expect: Literal["none", "a", "b"] | None = Field(
        None, description="Which side is to be better; `none`: neither; none: nothing was said."
    )


class TuningTry(BaseModel):
    """Values that a configuration was tried with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    values: dict[str, Any] = Field(description="The values, by the path of their field.")
    run_ids: tuple[str, ...] = Field(description="Its runs, one per seed.")
    nll: float | None = Field(description="Mean over the seeds; none: they have not all ended, or not all well.")
    failed: bool = Field(description="Whether one of them diverged or failed, which counts as worst.")


class TunedConfiguration(BaseModel):
    """What tuning came to for one configuration."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["sparse", "dense"] = Field(description="The kind of its FFN.")
    settings: dict[str, Any] = Field(description="The swept settings, by their path, without the tuned ones.")
    tries: tuple[TuningTry, ...] = Field(description="What was tried, or is to be.")
    chosen: dict[str, Any] | None = Field(description="The best values; none: not known yet, or all tries failed.")
    at_edge: tuple[str, ...] = Field((), description="Fields whose best value is at an edge of those that were tried.")
    config_id: str | None = Field(description="The configuration with the best values.")


class Manifest(BaseModel):
    """What a sweep asks for, and the command that runs it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = Field(MANIFEST_SCHEMA, description="Version of the manifest.")
    sweep: str = Field(description="Name of the sweep.")
    question: str = Field(description="The question it is to answer.")
    expected: str = Field("", description="What was expected before the first run, if the file says so.")
    file: str = Field(description="The sweep file.")
    command: str = Field(description="The command that runs it, and completes it.")
    axes: tuple[str, ...] = Field((), description="Paths of the swept settings.")
    primary: PrimaryPair | None = Field(None, description="The pair that the verdict is about, if the file names one.")
    min_effect: float = Field(
        0.005, description="The smallest difference in quality that matters, as a share of the dense twin's."
    )
    confidence: float = Field(0.95, description="How sure a verdict must be.")
    controls: tuple[Control, ...] = Field((), description="Pairs whose outcome is known beforehand.")
    created_at: str = Field(description="UTC, ISO 8601.")
    cells: tuple[ManifestCell, ...] = Field(description="The runs, in the order of the expansion; tries come first.")
    tuning: tuple[TunedConfiguration, ...] = Field((), description="What tuning came to, a configuration each.")
    pending: int = Field(0, description="Runs that are known only once all tries have ended.")


def write_manifest(folder: SweepFolder, manifest: Manifest) -> None:
    """Write the manifest of a sweep, whole or not at all.

    Raises:
        ResultsFolderError: it cannot be written, or a newer version of this tool wrote the one that is there.
    """
    with contextlib.suppress(OSError, ValueError):  # there is none, or a damaged one
        _check_version(json.loads(folder.manifest_path.read_bytes()), path=folder.manifest_path)
    content = json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder.manifest_path, as_utf8(content + "\n"))


def read_manifest(folder: SweepFolder) -> Manifest:
    """Read the manifest of a sweep.

    Raises:
        ResultsFolderError: there is none, it is damaged, or a newer version of this tool wrote it.
    """
    path = folder.manifest_path
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"holds {type(content).__name__}, not an object")
        _check_version(content, path=path)
        return Manifest.model_validate(content)
    except OSError as error:
        raise ResultsFolderError(f"Cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ResultsFolderError(
            f"{path} is damaged ({_first_reason(error)}); run the sweep's command again: it rewrites the manifest "
            "and keeps what is finished"
        ) from error


def read_tries(folder: SweepFolder) -> frozenset[str]:
    """The run_ids of a sweep's tries, which are for the choice of tuned values alone; none without a manifest."""
    try:
        cells = read_manifest(folder).cells
    except ResultsFolderError:
        return frozenset()
    return frozenset(cell.run_id for cell in cells if cell.role == "tuning")


def _check_version(content: Any, *, path: Path) -> None:
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > MANIFEST_SCHEMA:
        raise ResultsFolderError(
            f"{path} has schema version {version}, and this switchbench reads up to {MANIFEST_SCHEMA}: "
            "upgrade switchbench"
        )


def _first_reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
