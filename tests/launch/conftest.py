"""A small sweep on a small corpus, and its plan."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchbench.launch.events import Event, Listener
from switchbench.launch.plan import Plan, expand_sweep, make_plan
from switchbench.launch.run import Outcome, WorkerFunctions, run_plan
from switchbench.launch.scheduler import Policy
from switchbench.launch.slots import Setup
from switchbench.store import SweepFolder, read_manifest
from tests.launch.text import write_sweep

FUNCTIONS = WorkerFunctions(
    run="tests.launch.stand_ins:run",
    probe="tests.launch.stand_ins:probe",
    calibrate="tests.launch.stand_ins:try_shape",
    time="tests.launch.timing_stand_ins:measure",
    preload="zipapp",
)


@pytest.fixture(autouse=True)
def machine_of_our_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's locks in a folder of the test, so that nothing else on this machine makes it wait."""
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[..., Plan]:
    """Plans the small sweep: two sparse configurations and their dense twin, with the seeds given."""

    def plan_of(*, seeds: list[int]) -> Plan:
        file = tmp_path / "small.yaml"
        if not file.exists():
            write_sweep(file, corpus=tmp_path / "corpus")
        sweep = expand_sweep(file, overrides=[f"sweep.seeds={seeds}"])
        return make_plan(sweep, folder=SweepFolder(tmp_path / "results" / sweep.name))

    return plan_of


@pytest.fixture
def tuned_both(tmp_path: Path) -> Callable[[str], Plan]:
    """Plans a sparse configuration and its dense twin, which tune what is given, and the sparse one its balance too."""
    write_sweep(tmp_path / "small.yaml", corpus=tmp_path / "corpus")
    overrides = ["sweep.grid.model.ffn.num_experts=[4]", "sweep.seeds=[0]"]
    balance = "sweep.tune.model.ffn.aux_loss_weight=[0.0, 0.01]"

    def tuned_both(shared: str) -> Plan:
        sweep = expand_sweep(tmp_path / "small.yaml", overrides=[*overrides, f"sweep.tune.{shared}", balance])
        return make_plan(sweep, folder=SweepFolder(tmp_path / "results" / sweep.name))

    return tuned_both


def check_tuned_both(plan: Plan, outcome: Outcome, *, tries: int, dense: dict[str, float]) -> None:
    """All went well, with so many tries of each kind, and the dense one has the values given."""
    assert [end.status for end in outcome.ended] == ["ok"] * (2 * tries + 2)
    manifest = read_manifest(plan.folder)
    assert [(each.kind, len(each.tries)) for each in manifest.tuning] == [("sparse", tries), ("dense", tries)]
    assert all(each.nll is not None for tuned in manifest.tuning for each in tuned.tries)
    assert manifest.tuning[1].chosen == dense
    assert manifest.tuning[0].chosen is not None
    assert "model.ffn.aux_loss_weight" in manifest.tuning[0].chosen
    assert [cell.role for cell in manifest.cells[2 * tries :]] == ["sparse", "dense"]


@pytest.fixture(scope="session")
def corpus_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the small sweep's corpus is prepared, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def heard() -> list[Event]:
    """The events of a sweep."""
    return []


@pytest.fixture
def run_it(corpus_cache: Path, heard: list[Event]) -> Callable[..., Outcome]:
    """Runs a plan with stand-ins for the worker's functions."""

    def run_it(
        plan: Plan,
        *,
        functions: WorkerFunctions = FUNCTIONS,
        workers: int | None = None,
        on_event: Listener = heard.append,
        policy: Policy = Policy(max_tries=1),
        **options: Any,
    ) -> Outcome:
        setup = Setup(workers=workers)
        return run_plan(
            plan,
            on_event=on_event,
            setup=setup,
            policy=policy,
            cache_root=corpus_cache,
            functions=functions,
            **options,
        )

    return run_it
