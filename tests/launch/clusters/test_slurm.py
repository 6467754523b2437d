"""Runs as jobs of submitit: in its local executor, and as an array in front of commands that stand in for Slurm's."""

import dataclasses
import os
import shutil
import signal
import stat
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from switchbench.errors import SwitchbenchError, UsageError
from switchbench.launch.clusters import slurm_jobs
from switchbench.launch.events import Event, RunProgressed, RunRetried
from switchbench.launch.messages import Progress
from switchbench.launch.plan import Plan
from switchbench.launch.run import Outcome, WorkerFunctions, run_plan
from switchbench.launch.scheduler import Policy
from switchbench.launch.slots import Cluster, Setup
from switchbench.store import read_runs
from tests.launch.conftest import FUNCTIONS, check_tuned_both
from tests.launch.stand_ins import KILLED, RAISES, WELL

submitit = pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
ROOT = Path(__file__).resolve().parents[3]
TUNED = dataclasses.replace(FUNCTIONS, run="tests.launch.tuning_stand_ins:run_by_learning_rate")
PlanOf = Callable[..., Plan]
RunAsJobs = Callable[..., Outcome]

SBATCH = """\
#!{python}
import os, re, subprocess, sys
from pathlib import Path
here, script = Path({folder!r}), sys.argv[1]
text = Path(script).read_text()
(here / "submissions").open("a").write(text + "\\n---\\n")
count = len(list(here.glob("job-*"))) + 100
(here / f"job-{{count}}").touch()
array = re.search(r"--array=0-(\\d+)", text)
for task in range(int(array[1]) + 1) if array else [None]:
    own = {{"SLURM_JOB_ID": str(count), "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
            "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "here"}}
    if task is not None:
        own |= {{"SLURM_ARRAY_JOB_ID": str(count), "SLURM_ARRAY_TASK_ID": str(task)}}
    name = str(count) if task is None else f"{{count}}_{{task}}"
    job = subprocess.Popen(["bash", script], env=os.environ | own, stdout=subprocess.DEVNULL,
                           stderr=(here / f"stderr-{{name}}").open("w"))
    (here / f"pid-{{name}}").write_text(str(job.pid))
print(f"Submitted batch job {{count}}")
"""
SRUN = """\
#!{python}
import os, sys
first = sys.argv.index({python!r})
os.execvp(sys.argv[first], sys.argv[first:])
"""
SACCT = """\
#!{python}
from pathlib import Path
print("JobID|State|NodeList")
for file in Path({folder!r}).glob("pid-*"):
    is_there = Path(f"/proc/{{file.read_text()}}").exists()
    print(f"{{file.name[4:]}}|{{'RUNNING' if is_there else 'COMPLETED'}}|here")
"""


@pytest.fixture
def locally(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitit's local executor in Slurm's place."""
    executor = submitit.AutoExecutor
    monkeypatch.setattr(submitit, "AutoExecutor", lambda folder, cluster: executor(folder=folder, cluster="local"))


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that stand in for Slurm's: they start jobs as processes of this machine."""
    folder = tmp_path_factory.mktemp("slurm")
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        file = folder / name
        file.write_text(text.format(python=sys.executable, folder=str(folder)), encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def run_as_jobs(corpus_cache: Path, heard: list[Event], monkeypatch: pytest.MonkeyPatch) -> RunAsJobs:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    monkeypatch.setattr("switchbench.launch.clusters.slurm.PATIENCE_S", 1.0)

    def run_as_jobs(
        plan: Plan,
        *,
        functions: WorkerFunctions = FUNCTIONS,
        policy: Policy = Policy(max_tries=1, timeout_s=60),
        on_event: Callable[[Event], object] = lambda event: None,
        options: dict[str, str] | None = None,
        **setup: Any,
    ) -> Outcome:
        def listen(event: Event) -> None:
            heard.append(event)
            on_event(event)

        return run_plan(
            plan,
            on_event=listen,
            setup=Setup(cluster=Cluster(kind="slurm", slurm=options or {}), **setup),
            policy=policy,
            cache_root=corpus_cache,
            functions=functions,
        )

    return run_as_jobs


def doing(run: str) -> WorkerFunctions:
    return dataclasses.replace(FUNCTIONS, run=f"tests.launch.clusters.stand_ins:{run}")


def statuses(outcome: Outcome) -> Counter[tuple[int, str]]:
    return Counter((end.cell.spec.seed, end.status) for end in outcome.ended)


def test_jobs_that_end_well_and_badly(locally: None, plan_of: PlanOf, run_as_jobs: RunAsJobs) -> None:
    plan = plan_of(seeds=[WELL, KILLED, RAISES])
    outcome = run_as_jobs(plan)
    assert statuses(outcome) == {(WELL, "ok"): 3, (KILLED, "killed"): 3, (RAISES, "crashed"): 3}
    assert outcome.timed == len(list(plan.folder.timings.glob("*.parquet"))) == 3
    assert all(pq.read_table(file).to_pylist()[0]["trained_weights"] for file in plan.folder.timings.glob("*.parquet"))
    failed = [row for row in read_runs(plan.folder) if row.status != "ok"]
    assert {row.machine for row in failed} == {"a box"}
    assert {row.reason for row in failed if row.seed == KILLED} == {
        "killed by SIGKILL (sent from outside, or by the system when memory ran out)"
    }
    for end in outcome.ended:
        assert "the last thing it said" in Path(end.log_path).read_text(encoding="utf-8")
    assert not [path for path in plan.folder.path.iterdir() if path.name.startswith((".slurm", ".mark"))]


def test_a_job_that_dies_is_tried_again(
    locally: None, plan_of: PlanOf, run_as_jobs: RunAsJobs, heard: list[Event]
) -> None:
    policy = Policy(max_tries=2, timeout_s=60)
    outcome = run_as_jobs(plan_of(seeds=[WELL]), functions=doing("run_and_lose_supervisor"), policy=policy)
    assert [end.status for end in outcome.ended] == ["ok"] * 3
    texts = [event.text for event in heard if isinstance(event, RunRetried)]
    assert len(texts) == 3
    assert all("its job of Slurm ended without a result" in text for text in texts)


def test_a_run_that_hangs_is_a_timeout(locally: None, plan_of: PlanOf, run_as_jobs: RunAsJobs) -> None:
    policy = Policy(max_tries=1, timeout_s=1.5)
    outcome = run_as_jobs(plan_of(seeds=[WELL, 7]), functions=doing("run_first_seed_only"), policy=policy)
    assert statuses(outcome) == {(WELL, "ok"): 3, (7, "timeout"): 3}


def test_a_sweep_that_tunes_has_equally_many_tries(
    locally: None, tuned_both: Callable[[str], Plan], run_as_jobs: RunAsJobs
) -> None:
    decays = "train.weight_decay=[0.0, 0.1]"  # all as good as the first, beyond which there is none
    plan = tuned_both(decays)
    check_tuned_both(plan, run_as_jobs(plan, functions=TUNED), tries=4, dense={"train.weight_decay": 0.0})
    assert tuned_both(decays).is_done


def test_a_job_at_its_limit_keeps_a_checkpoint_for_the_next_attempt(
    locally: None, plan_of: PlanOf, run_as_jobs: RunAsJobs, heard: list[Event]
) -> None:
    policy, options = Policy(max_tries=2), {"time": "5"}
    outcome = run_as_jobs(
        plan_of(seeds=[WELL]), functions=doing("run_past_slurms_limit"), policy=policy, options=options
    )
    assert [end.status for end in outcome.ended] == ["ok"] * 3
    texts = [event.text for event in heard if isinstance(event, RunRetried)]
    assert len(texts) == 3
    assert all("took longer than Slurm was told" in text for text in texts)


def test_a_job_sees_that_it_is_to_stop_or_that_the_command_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "transport"
    folder.mkdir()
    (folder / slurm_jobs.ALIVE).touch()
    first, second = (slurm_jobs.FileBoard(folder=folder, attempt=name) for name in ("first", "second"))
    first_should_stop, second_should_stop = first.watcher(), second.watcher()
    assert not first_should_stop(Progress(tokens_done=1, tokens_total=2, nll=None))
    assert not second_should_stop(None)
    (folder / "first.stop").touch()
    assert first_should_stop(None)
    assert not second_should_stop(None)
    monkeypatch.setattr(slurm_jobs, "ABANDONED_S", -1.0)
    assert second_should_stop(None)  # no sign for longer than that
    monkeypatch.undo()
    assert not second_should_stop(None)
    shutil.rmtree(folder)
    assert second_should_stop(Progress(tokens_done=2, tokens_total=2, nll=None))


def test_ctrl_c_keeps_checkpoints_and_leaves_no_job(locally: None, plan_of: PlanOf, run_as_jobs: RunAsJobs) -> None:
    plan = plan_of(seeds=[WELL])
    told: set[str] = set()

    def interrupt(event: Event) -> None:
        if isinstance(event, RunProgressed):
            told.add(event.cell.spec.run_id)
            if len(told) == 3:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_as_jobs(plan, functions=doing("run_until_asked_to_stop"), on_event=interrupt)
    assert {plan.folder.unfinished_path(run_id).read_bytes() for run_id in told} == {b"state"}
    assert not list(plan.folder.runs.iterdir())
    assert not list(plan.folder.path.glob(".slurm*"))


def test_all_runs_are_one_array_with_the_options_given(slurm: Path, plan_of: PlanOf, run_as_jobs: RunAsJobs) -> None:
    plan = plan_of(seeds=[WELL, 7])
    options = {"partition": "long", "account": "lab", "mem": "4GB"}
    outcome = run_as_jobs(plan, options=options, workers=4, threads=2)
    assert statuses(outcome) == {(WELL, "ok"): 3, (7, "ok"): 3}
    assert outcome.timed == 3
    runs, timing, rest = (slurm / "submissions").read_text(encoding="utf-8").split("---\n")
    assert not rest.strip()
    lines = set(runs.splitlines())
    assert {"#SBATCH --array=0-5%4", "#SBATCH --cpus-per-task=2", "#SBATCH --time=11"} <= lines
    assert {"#SBATCH --partition=long", "#SBATCH --account=lab", "#SBATCH --mem=4GB"} <= lines
    assert "--array" not in timing
    assert "#SBATCH --exclusive" in timing


@pytest.mark.parametrize(
    ("options", "policy", "words"),
    [
        ({}, Policy(), "--timeout"),
        ({"time": "2h"}, Policy(), "minutes"),
        ({"partitoin": "gpu"}, Policy(timeout_s=60), "partitoin"),
    ],
)
def test_what_slurm_must_be_told(
    options: dict[str, str], policy: Policy, words: str, slurm: Path, plan_of: PlanOf, run_as_jobs: RunAsJobs
) -> None:
    plan = plan_of(seeds=[WELL])
    with pytest.raises(UsageError, match=words):
        run_as_jobs(plan, options=options, policy=policy)
    assert not plan.folder.manifest_path.exists()
    assert not list(plan.folder.path.glob(".slurm*"))


def test_a_refusal_of_slurms_is_told(slurm: Path, plan_of: PlanOf, run_as_jobs: RunAsJobs) -> None:
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'invalid account' >&2\nexit 1\n", encoding="utf-8")
    with pytest.raises(SwitchbenchError, match="invalid account"):
        run_as_jobs(plan_of(seeds=[WELL]))


def test_where_there_is_no_slurm(plan_of: PlanOf, run_as_jobs: RunAsJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="Slurm cannot be used from here"):
        run_as_jobs(plan_of(seeds=[WELL]))
