"""Fits stored next to what they were fitted to: ``fits.json`` has whole answers, ``fits.parquet`` a row per number.

A fit takes the place of an earlier one of the same request (law, columns, filter, loss, bootstrap). Of two commands
that store at the same moment in the same folder, the later one wins.
"""

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from switchbench import __version__
from switchbench.errors import ResultsFolderError
from switchbench.fitting.document import SCHEMA_VERSION, fit_json
from switchbench.fitting.files import STORED
from switchbench.fitting.request import TableFit
from switchbench.store import write_atomically
from switchbench.store.schemas import table_of_json

ANSWERS = "fits.json"
NUMBERS = STORED
_NUMBER = pa.float64()
_TEXT = pa.string()
SCHEMA = pa.schema(
    [
        ("fit_id", _TEXT),
        ("table", _TEXT),
        ("law", _TEXT),
        ("loss", _TEXT),
        ("where", _TEXT),
        ("n_rows", pa.int64()),
        ("rows_sha256", _TEXT),
        ("fitted_at", _TEXT),
        ("switchbench_version", _TEXT),
        ("measure", _TEXT),
        ("name", _TEXT),
        ("n", _NUMBER),
        ("e", _NUMBER),
        ("d", _NUMBER),
        ("value", _NUMBER),
        ("ci95_low", _NUMBER),
        ("ci95_high", _NUMBER),
        ("se", _NUMBER),
        ("unit", _TEXT),
        ("caveats", pa.list_(_TEXT)),
        ("fit_caveats", pa.list_(_TEXT)),
    ]
)
"""A row per parameter (``measure`` is ``parameter``) and per derived quantity, with the place where it holds."""


def folder_of(table: Path) -> Path | None:
    """Where fits to a table are stored if nothing else is asked for: a sweep's own folder; None: nowhere."""
    return table if (table / "runs").is_dir() else None


def signed_json(answer: TableFit) -> dict[str, Any]:
    """Give a fit as it is stored: ``fit_json`` with the identity of its request, when it was made and by what version.

    Args:
        answer: The fit.
    """
    return fit_json(answer) | {
        "fit_id": answer.request.fit_id,
        "fitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "switchbench_version": __version__,
    }


def store_fit(folder: Path, content: dict[str, Any]) -> None:
    """Store a fit, beside those that are there.

    Args:
        folder: Where; it is made if need be.
        content: The fit, as ``signed_json`` gives it.

    Raises:
        ResultsFolderError: it cannot be written; earlier fits are kept.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stored = [each for each in read_fits(folder) if each.get("fit_id") != content["fit_id"]]
        fits = [*stored, content]
        whole = {"schema_version": SCHEMA_VERSION, "fits": fits}
        write_atomically(
            folder / ANSWERS, (json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
        )
        write_atomically(folder / NUMBERS, _parquet(fits))
    except OSError as error:
        raise ResultsFolderError(_not_stored(folder, error)) from error
    except ResultsFolderError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise ResultsFolderError(_not_stored(folder, error.__cause__)) from error


def read_fits(folder: Path) -> list[dict[str, Any]]:
    """Read the fits that are stored in a folder; none where there is no file, or a damaged one.

    Raises:
        ResultsFolderError: a newer version of this tool wrote them.
    """
    whole: Any = None
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):
        whole = json.loads((folder / ANSWERS).read_bytes())
    if not isinstance(whole, dict):
        return []
    version = whole.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ResultsFolderError(
            f"{folder / ANSWERS} has schema version {version}, and this switchbench writes {SCHEMA_VERSION}: upgrade "
            "switchbench, or name another folder with --output DIR"
        )
    fits = whole.get("fits")
    return [each for each in fits if isinstance(each, dict)] if isinstance(fits, list) else []


def find_fit(folder: Path, *, fit_id: str, rows_sha256: str) -> dict[str, Any] | None:
    """Find a stored fit of the same request to the same rows by this version; None: there is none.

    Args:
        folder: Where fits are stored.
        fit_id: Identity of the request.
        rows_sha256: Hash of the rows.
    """
    with contextlib.suppress(ResultsFolderError, OSError):
        for each in read_fits(folder):
            is_same = each.get("fit_id") == fit_id and each.get("switchbench_version") == __version__
            if is_same and isinstance(rows := each.get("rows"), dict) and rows.get("sha256") == rows_sha256:
                return each
    return None


def _parquet(fits: Sequence[dict[str, Any]]) -> bytes:
    rows = [json.dumps(row) for fit in fits for row in _numbers(fit)]
    buffer = pa.BufferOutputStream()
    pq.write_table(table_of_json(rows, SCHEMA), buffer, write_page_checksum=True)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def _numbers(fit: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per number of a fit."""
    shared = {name: fit[name] for name in ("fit_id", "table", "law", "loss", "n_rows", "fitted_at")} | {
        "where": fit["rows"]["where"],
        "rows_sha256": fit["rows"]["sha256"],
        "switchbench_version": fit["switchbench_version"],
        "fit_caveats": fit["caveats"],
    }
    numbers = [("parameter", name, each) for name, each in fit["parameters"].items()]
    numbers += [(measure, measure, each) for measure, places in fit["derived"].items() for each in places]
    return [shared | {"measure": measure, "name": name} | _number(each) for measure, name, each in numbers]


def _number(each: dict[str, Any]) -> dict[str, Any]:
    low, high = each["ci95"] or (None, None)
    place = {name: each.get(name) for name in ("n", "e", "d")}
    same = {name: each[name] for name in ("value", "se", "unit", "caveats")}
    return place | same | {"ci95_low": low, "ci95_high": high}


def _not_stored(folder: Path, error: OSError) -> str:
    return (
        f"the fit is not stored: {folder} cannot be written ({error.strerror or error}). Name another folder with "
        "--output DIR"
    )
