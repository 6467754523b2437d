"""Runs on a real Ray cluster of two nodes in this machine: placement, machines that go, logs, stopping, timing."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from switchbench.errors import UsageError
from switchbench.launch.events import Event, RunEnded, RunProgressed, RunRetried, RunStarted
from switchbench.launch.plan import Plan, make_plan
from switchbench.launch.run import Outcome, WorkerFunctions, run_plan
from switchbench.launch.scheduler import Policy
from switchbench.launch.slots import Cluster, Setup
from switchbench.store import SweepFolder, read_runs
from tests.launch.conftest import FUNCTIONS, check_tuned_both
from tests.launch.stand_ins import WELL
from tests.launch.text import write_sweep

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
ROOT = Path(__file__).resolve().parents[3]
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}
"""How soon the cluster takes a node for dead that does not answer; by default after some 15 s."""
TUNED = dataclasses.replace(FUNCTIONS, run="tests.launch.tuning_stand_ins:run_by_learning_rate")
PlanOf = Callable[..., Plan]
RunThere = Callable[..., Outcome]


def doing(run: str, **roles: str) -> WorkerFunctions:
    names = {role: f"tests.launch.{name}" for role, name in roles.items()}
    return dataclasses.replace(FUNCTIONS, run=f"tests.launch.clusters.stand_ins:{run}", **names)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head with one CPU, and a node with one CPU and one GPU, as far as Ray is told."""
    from ray.cluster_utils import Cluster as Nodes

    with tempfile.TemporaryDirectory(prefix="switchbench-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        patch.setenv("TMPDIR", folder)  # the locks of a machine of its own
        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": QUICK_TO_NOTICE})
        nodes.add_node(num_cpus=1, num_gpus=1)
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="module")
def connection(nodes: Any) -> Iterator[None]:
    """This process as part of the cluster, as if it were started there."""
    from switchbench.launch.clusters.ray import connected

    with connected(nodes.address):
        yield


@pytest.fixture
def run_there(connection: None, corpus_cache: Path, heard: list[Event]) -> RunThere:
    """Runs a plan on the cluster."""

    def run_there(
        plan: Plan,
        *,
        functions: WorkerFunctions,
        policy: Policy = Policy(max_tries=1),
        on_event: Callable[[Event], object] = lambda event: None,
        **setup: Any,
    ) -> Outcome:
        def listen(event: Event) -> None:
            heard.append(event)
            on_event(event)

        return run_plan(
            plan,
            on_event=listen,
            setup=Setup(cluster=Cluster(kind="ray"), **({"device": "cpu"} | setup)),
            policy=policy,
            cache_root=corpus_cache,
            functions=functions,
        )

    return run_there


def timings_of(plan: Plan) -> list[dict[str, Any]]:
    return [pq.read_table(path).to_pylist()[0] for path in plan.folder.timings.glob("*.parquet")]


def starts_by_run(plan: Plan) -> Counter[str]:
    return Counter((plan.folder.logs / "starts").read_text(encoding="ascii").split())


def test_each_run_is_a_process_of_its_own_with_our_settings(
    plan_of: PlanOf, run_there: RunThere, heard: list[Event]
) -> None:
    plan = plan_of(seeds=[WELL, 7])
    outcome = run_there(plan, functions=doing("run_and_say_where"))
    assert [end.status for end in outcome.ended] == ["ok"] * 6
    assert outcome.timed == len(timings_of(plan)) == 3
    assert all(timing["trained_weights"] for timing in timings_of(plan))
    rows = read_runs(plan.folder)
    assert len({row.device_name for row in rows}) == len(rows) == 6
    assert {(row.machine or "").partition("/")[2] for row in rows} == {"268435456"}
    assert {row.threads for row in rows} == {1}
    for run_id, starts in starts_by_run(plan).items():
        assert starts == 1
        assert "trained well" in plan.folder.log_path(run_id).read_text(encoding="utf-8")
    order = [type(event) for event in heard if isinstance(event, RunStarted | RunEnded)]
    assert order[:3] == [RunStarted, RunStarted, RunEnded]  # as many side by side as there are CPUs
    assert not list(plan.folder.path.glob(".mark*"))
    assert make_plan(plan.sweep, folder=plan.folder).is_done


def test_a_node_that_goes_in_mid_sweep_costs_an_attempt_and_no_run(
    plan_of: PlanOf, run_there: RunThere, nodes: Any, heard: list[Event]
) -> None:
    plan = plan_of(seeds=[WELL, 7])
    third = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    told: set[str] = set()
    gone: list[Event] = []

    def take_it_away(event: Event) -> None:
        if isinstance(event, RunProgressed):
            told.add(event.cell.spec.run_id)
        if len(told) == 3 and not gone:  # all three nodes are busy
            gone.append(event)
            nodes.remove_node(third, allow_graceful=False)
        if isinstance(event, RunRetried):
            (plan.folder.logs / "released").touch()

    outcome = run_there(plan, functions=doing("run_once_released"), policy=Policy(max_tries=3), on_event=take_it_away)
    assert [end.status for end in outcome.ended] == ["ok"] * 6
    assert len({end.cell.spec.run_id for end in outcome.ended}) == len(read_runs(plan.folder)) == 6
    (retry,) = [event.text for event in heard if isinstance(event, RunRetried)]
    assert "left the cluster" in retry
    assert sorted(starts_by_run(plan).values()) == [1, 1, 1, 1, 1, 2]


def test_a_supervisor_that_is_killed_takes_its_run_along_and_is_tried_again(
    plan_of: PlanOf, run_there: RunThere, heard: list[Event]
) -> None:
    outcome = run_there(plan_of(seeds=[WELL]), functions=doing("run_and_lose_supervisor"), policy=Policy(max_tries=2))
    assert [end.status for end in outcome.ended] == ["ok"] * 3
    texts = [event.text for event in heard if isinstance(event, RunRetried)]
    assert len(texts) == 3
    assert all("the process that supervised it died" in text for text in texts)


def test_runs_for_gpus_go_where_gpus_are_one_on_each(plan_of: PlanOf, run_there: RunThere, heard: list[Event]) -> None:
    plan = plan_of(seeds=[WELL])
    functions = doing("run_and_say_where", probe="clusters.stand_ins:probe_gpu")
    outcome = run_there(plan, functions=functions, device="auto")
    assert [end.status for end in outcome.ended] == ["ok"] * 3
    assert {row.machine for row in read_runs(plan.folder)} == {"0/268435456"}
    assert {row.device for row in read_runs(plan.folder)} == {"cuda"}
    order = [type(event) for event in heard if isinstance(event, RunStarted | RunEnded)]
    assert order == [RunStarted, RunEnded] * 3


def test_a_sweep_that_tunes_has_equally_many_tries(tuned_both: Callable[[str], Plan], run_there: RunThere) -> None:
    rates = "train.learning_rate=[1e-2, 2e-2]"  # best for sparse at the upper edge, so that both get two tries more
    plan = tuned_both(rates)
    check_tuned_both(plan, run_there(plan, functions=TUNED), tries=6, dense={"train.learning_rate": 1e-2})
    assert tuned_both(rates).is_done


def test_ctrl_c_keeps_checkpoints(plan_of: PlanOf, run_there: RunThere) -> None:
    plan = plan_of(seeds=[WELL])
    asked: list[Event] = []

    def interrupt(event: Event) -> None:
        if isinstance(event, RunProgressed) and not asked:
            asked.append(event)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_there(plan, functions=doing("run_until_asked_to_stop"), on_event=interrupt)
    (told,) = asked
    assert isinstance(told, RunProgressed)
    assert plan.folder.unfinished_path(told.cell.spec.run_id).read_bytes() == b"state"
    assert not list(plan.folder.runs.iterdir())


def test_without_a_shared_folder_logs_and_weights_come_back(
    plan_of: PlanOf, run_there: RunThere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def mark_nobody_sees(folder: SweepFolder) -> Iterator[tuple[Path, str]]:
        yield tmp_path / "not there", "mark"

    monkeypatch.setattr("switchbench.launch.clusters.delegation.marked", mark_nobody_sees)
    plan = plan_of(seeds=[WELL])
    outcome = run_there(plan, functions=doing("run_and_say_where"))
    assert [end.status for end in outcome.ended] == ["ok"] * 3
    for end in outcome.ended:
        assert Path(end.log_path).read_text(encoding="utf-8").endswith("trained well\n")
    assert not (plan.folder.logs / "starts").exists()  # it was beside the log that the run saw
    assert [timing["trained_weights"] for timing in timings_of(plan)] == [True] * 3
    assert not list(plan.folder.checkpoints.iterdir())


def test_time_counts_from_the_start_on_the_other_machine(plan_of: PlanOf, run_there: RunThere) -> None:
    plan = plan_of(seeds=[WELL, 7])
    policy = Policy(max_tries=1, timeout_s=1.5)
    outcome = run_there(plan, functions=doing("run_first_seed_only"), policy=policy)
    assert Counter((end.cell.spec.seed, end.status) for end in outcome.ended) == {(WELL, "ok"): 3, (7, "timeout"): 3}
    late = [row for row in read_runs(plan.folder) if row.status == "timeout"]
    assert {row.reason for row in late} == {"took longer than 1.50 s"}
    assert {row.machine for row in late} == {"a box"}


def test_other_text_on_a_machine_is_a_failure_that_says_so(
    plan_of: PlanOf, run_there: RunThere, tmp_path: Path
) -> None:
    plan = plan_of(seeds=[WELL])
    (tmp_path / "corpus" / "part00.txt").write_text("something else " * 200, encoding="utf-8")
    outcome = run_there(plan, functions=doing("run_and_say_where"))
    assert [end.status for end in outcome.ended] == ["crashed"] * 3
    assert all("is not the one the sweep was planned with" in (end.reason or "") for end in outcome.ended)


def test_more_than_any_machine_has_is_refused(plan_of: PlanOf, run_there: RunThere) -> None:
    plan = plan_of(seeds=[WELL])
    with pytest.raises(UsageError, match="a run needs 64 CPUs"):
        run_there(plan, functions=doing("run_and_say_where"), threads=64)
    assert not plan.folder.manifest_path.exists()


@pytest.mark.parametrize(
    ("address", "words"),
    [("127.0.0.1:1", "no Ray cluster answers at"), ("nonsense", "HOST:PORT"), ("ray://10.0.0.1:10001", "HOST:PORT")],
)
def test_an_address_that_leads_nowhere(address: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from switchbench.launch.clusters.ray import connected

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UsageError, match=words), connected(address):
        pass


def test_the_command_trains_there_what_it_trains_here(nodes: Any, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    write_sweep(file, corpus=tmp_path / "corpus")

    def sweep(results: str, *options: str) -> dict[str, float | None]:
        settings = [
            "sweep.seeds=[0]",
            "sweep.grid={model.ffn.num_experts: [2]}",
            "base.data.path=corpus",
            "--device",
            "cpu",
            "--json",
        ]
        command = [sys.executable, "-m", "switchbench", "sweep", str(file), *settings, "--no-calibrate"]
        done = subprocess.run(
            [*command, "--device", "cpu", "--results", results, *options],
            cwd=tmp_path,
            env=os.environ | {"SWITCHBENCH_CACHE": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        counts = json.loads(done.stdout)["counts"]
        assert (counts["started"], counts["ok"], counts["timed"]) == (2, 2, 2)
        assert "raylet" not in done.stderr
        assert "Traceback" not in done.stderr
        rows = read_runs(SweepFolder(tmp_path / results / "small"))
        return {f"{row.run_id} {row.anneal_fraction}": row.nll for row in rows}

    there = sweep("there", "--executor", "ray", "--address", nodes.address)
    assert len(there) == 6
    assert there == sweep("here")


def test_a_machine_has_room_for_as_many_runs_as_share_its_gpus() -> None:
    from switchbench.launch.clusters.ray import Node

    node = Node(node_id="n", cpus=16, gpus=2)
    assert node.room(threads=2, device="cpu", per_gpu=3) == 8
    assert node.room(threads=2, device="cuda", per_gpu=1) == 2
    assert node.room(threads=2, device="cuda", per_gpu=3) == 6
    assert node.room(threads=4, device="cuda", per_gpu=3) == 4  # so far as there are CPUs
