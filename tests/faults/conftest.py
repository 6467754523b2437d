"""Sweeps to be hurt, and a table of what became of them."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.place import SHORT, Answer, Sweep

NOT_REACHED = "FAILED"


@dataclass(kw_only=True)
class Fault:
    """A row of the table."""

    injected: str
    survived: str = NOT_REACHED
    afterwards: str = NOT_REACHED


_ROWS = pytest.StashKey[list[Fault]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(_ROWS, [])
    if not rows:
        return
    table = Table("fault", "what survived", "the same command afterwards", show_lines=True)
    for row in rows:
        table.add_row(row.injected, row.survived, row.afterwards)
    console = Console(width=140, highlight=False)
    with console.capture() as capture:
        console.print(table)
    terminalreporter.section("faults")
    terminalreporter.write(capture.get())


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Callable[[str], Fault]:
    """Opens a row of the table; what a test does not come to say stands there as failed."""

    def fault(injected: str) -> Fault:
        row = Fault(injected=injected)
        request.config.stash.setdefault(_ROWS, []).append(row)
        return row

    return fault


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the corpus is prepared, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def sweep_at(cache: Path) -> Iterator[Callable[..., Sweep]]:
    """Makes sweeps, and ends what they leave running."""
    temporary = Path(tempfile.mkdtemp(prefix="faults-"))  # short: a socket's path has some hundred letters at most
    sweeps: list[Sweep] = []

    def sweep_at(place: Path, **fields: Any) -> Sweep:
        sweeps.append(Sweep(place=place, cache=fields.pop("cache", cache), temporary=temporary, **fields))
        return sweeps[-1]

    yield sweep_at
    for sweep in sweeps:
        sweep.end_all()
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Callable[[tuple[str, ...]], dict[str, float]]:
    """Gives the nll of every run of a sweep that nothing happens to, by run_id."""
    known: dict[tuple[str, ...], dict[str, float]] = {}

    def undisturbed(words: tuple[str, ...]) -> dict[str, float]:
        if words not in known:
            place, temporary = tmp_path_factory.mktemp("undisturbed"), Path(tempfile.mkdtemp(prefix="faults-"))
            sweep = Sweep(place=place, cache=cache, temporary=temporary, words=words)
            answer = sweep.run()
            assert answer.code == 0, answer.err
            known[words] = {run_id: row["nll"] for run_id, row in sweep.results_by_run().items()}
            shutil.rmtree(temporary, ignore_errors=True)
        return known[words]

    return undisturbed


@pytest.fixture
def assert_completes(
    undisturbed: Callable[[tuple[str, ...]], dict[str, float]],
) -> Callable[..., Answer]:
    """Checks that a sweep's command completes it: every run once, to the nll it has where nothing happens, no rest.

    Args of the function it gives:
        sweep: The sweep.
        row: Takes what the command did.
        more: Further words of the command.
        kept: Result files from before, with their times: they must not be written again.
        has_nlls: Whether the nlls must be those of an undisturbed sweep.
    """

    def assert_completes(
        sweep: Sweep, row: Fault, *more: str, kept: dict[str, int] | None = None, has_nlls: bool = True
    ) -> Answer:
        kept = kept or {}
        answer = sweep.run(*more)
        assert answer.code == 0, answer.err
        assert "Traceback" not in answer.err
        planned, results = sweep.planned(), sweep.results_by_run()
        assert set(planned.values()) == {"skip"}
        assert results.keys() == planned.keys()
        assert {row["status"] for row in results.values()} == {"ok"}
        if has_nlls:
            assert {run_id: row["nll"] for run_id, row in results.items()} == undisturbed(sweep.words)
        assert kept.items() <= sweep.files().items()
        assert len(list(sweep.folder.timings.glob("*.parquet"))) == len({row["config_id"] for row in results.values()})
        assert sweep.leftovers() == []
        row.afterwards = f"exit 0, {len(results)} runs, each once" + (f"; {len(kept)} kept" if kept else "")
        return answer

    return assert_completes


@pytest.fixture
def small(tmp_path: Path, sweep_at: Callable[..., Sweep]) -> Sweep:
    """Six runs of a fraction of a second."""
    return sweep_at(tmp_path / "place", words=SHORT)


@pytest.fixture(autouse=True)
def _on_linux() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("processes are looked up, and file systems mounted, as on Linux")
