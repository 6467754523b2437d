"""A plan's runs and timing pass on machines other than this one: of a Ray cluster, or of Slurm."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import assert_never

from switchbench.errors import UsageError
from switchbench.launch.claims import Claims
from switchbench.launch.clusters.errand import Errand, Timings, marked
from switchbench.launch.estimates import Estimates
from switchbench.launch.events import Listener, Preparing, RunEnded, Warned
from switchbench.launch.executor import Executor
from switchbench.launch.interrupts import first_interrupt_noted
from switchbench.launch.plan import Plan, write_plan_manifest
from switchbench.launch.preparation import WorkerFunctions
from switchbench.launch.scheduler import Policy, Scheduler
from switchbench.launch.slots import Cluster, Setup
from switchbench.launch.timing_pass import choose_items, keep_timings
from switchbench.store import timed_configs

TimingPass = Callable[[], int]
"""Times what is untimed; gives the number of configurations."""


def check_options(
    executor: str, *, address: str | None, slurm: Sequence[str], workers: int | None, threads: int
) -> Cluster | None:
    """Read the options that say where runs are executed.

    Args:
        executor: ``local``, ``ray`` or ``slurm``.
        address: Head of a Ray cluster.
        slurm: Options of Slurm's jobs, as ``KEY=VALUE``.
        workers: Runs side by side; None: as many as there is room for.
        threads: CPU threads of each.

    Returns:
        The cluster; None: this machine.

    Raises:
        UsageError: an option is out of range or goes with another executor, or the package for the cluster is missing.
    """
    if address is not None and executor != "ray":
        raise UsageError(f"--address goes with --executor ray, not with {executor}")
    if slurm and executor != "slurm":
        raise UsageError(f"--slurm goes with --executor slurm, not with {executor}")
    if executor not in ("ray", "slurm"):
        return None
    for name, number in (("--threads", threads), ("--workers", workers)):
        if number is not None and number < 1:
            raise UsageError(f"{name} must be at least 1, got {number}")
    pairs = [option.partition("=") for option in slurm]
    for option, (key, _, value) in zip(slurm, pairs, strict=True):
        if not key or not value:
            raise UsageError(f"--slurm takes KEY=VALUE, such as partition=gpu, got {option!r}")
    cluster = Cluster(
        kind="ray" if executor == "ray" else "slurm",
        address=address,
        slurm={key.replace("-", "_"): value for key, _, value in pairs},
    )
    check_cluster(cluster)
    return cluster


def check_cluster(cluster: Cluster) -> None:
    """Check that the package is there that a cluster is reached with.

    Args:
        cluster: The cluster.

    Raises:
        UsageError: it is not; says how it is installed.
    """
    package = {"ray": "ray", "slurm": "submitit"}[cluster.kind]
    if find_spec(package) is None:
        raise UsageError(
            f"--executor {cluster.kind} needs the package {package}, which is not installed: "
            f"pip install 'switchbench[{cluster.kind}]'"
        )


def unknown_estimates(plan: Plan, *, setup: Setup) -> Estimates:
    """Give what is known of a plan that runs on other machines: memory, and no time.

    Args:
        plan: The plan.
        setup: How its runs are to be executed.
    """
    device = None if setup.device == "auto" else setup.device
    return Estimates(plan=plan, workers=setup.workers or 1, device=device, times={}, held_out_tokens={})


def run_on_cluster(
    plan: Plan,
    *,
    cluster: Cluster,
    setup: Setup,
    policy: Policy,
    cache_root: Path | None,
    functions: WorkerFunctions,
    on_event: Listener,
) -> tuple[list[RunEnded], int]:
    """Run what is missing, then time what is untimed.

    Args:
        plan: The plan; its folder exists.
        cluster: Where.
        setup: How the runs are executed.
        policy: What is done about runs that fail, hang or grow.
        cache_root: Where prepared corpora are kept on each machine; None: the default place.
        functions: What processes run.
        on_event: Told what happens.

    Returns:
        The runs that were started, as they ended, and the number of configurations that were timed.

    Raises:
        UsageError: the cluster cannot be used.
        SwitchbenchError: the cluster takes no jobs.
        KeyboardInterrupt: Ctrl-C; running runs have kept checkpoints where the results folder is shared.
    """
    check_cluster(cluster)
    with marked(plan.folder) as (mark, content):
        errand = Errand(
            sweep=plan.sweep.name,
            setup=setup,
            functions=functions,
            cache_root=None if cache_root is None else cache_root.resolve(),
            working_folder=Path.cwd(),
            mark=mark,
            mark_content=content,
            timeout_s=policy.timeout_s,
            memory_bytes=policy.memory_bytes,
        )
        with _executor(plan, cluster=cluster, errand=errand, on_event=on_event) as (executor, time_untimed):
            write_plan_manifest(plan)  # only now: a request that cannot be met leaves what was there
            with Claims(plan.folder, on_event=on_event) as claims, first_interrupt_noted() as is_interrupted:
                ended = Scheduler(
                    replace(unknown_estimates(plan, setup=setup), device=executor.device),
                    executor=executor,
                    claims=claims,
                    # Time counts from the start on the other machine, and memory is that machine's.
                    policy=replace(policy, timeout_s=None, memory_bytes=None),
                    threads=setup.threads,
                    timed=timed_configs(plan.folder),
                    keeps_all=setup.keep_checkpoints,
                    on_event=on_event,
                    is_interrupted=is_interrupted,
                ).run()
            return ended, time_untimed()


@contextmanager
def _executor(
    plan: Plan, *, cluster: Cluster, errand: Errand, on_event: Listener
) -> Iterator[tuple[Executor, TimingPass]]:
    """Give what executes runs there, and what times them; the libraries are imported where they are asked for."""
    workers = errand.setup.workers
    match cluster.kind:
        case "ray":
            # Read when Ray is imported. What Ray has to say of lost machines would go to stdout, where answers go.
            os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
            from switchbench.launch.clusters.ray import RayExecutor, connected

            on_event(Preparing(what="connecting to the Ray cluster"))
            with connected(cluster.address):
                on_ray = RayExecutor(errand, workers=workers)

                def time_each_kind() -> int:
                    if not choose_items(plan, machine_id=None) and not plan.untimed:
                        return 0
                    number = 0
                    for machine_id, (node, is_shared) in on_ray.machine_kinds(on_event=on_event).items():
                        items = choose_items(plan, machine_id=machine_id)
                        if items:
                            timings = on_ray.measure(items, node=node, is_shared=is_shared, on_event=on_event)
                            number += _keep(plan, timings, on_event=on_event)
                    return number

                yield on_ray, time_each_kind
        case "slurm":
            from switchbench.launch.clusters.slurm import SlurmExecutor

            with SlurmExecutor(
                errand,
                folder=plan.folder,
                workers=workers,
                num_runs=len(plan.to_start),
                options=cluster.slurm,
            ) as on_slurm:

                def time_once() -> int:
                    items = choose_items(plan, machine_id=None)
                    return _keep(plan, on_slurm.measure(items, on_event=on_event), on_event=on_event) if items else 0

                yield on_slurm, time_once
        case _:
            assert_never(cluster.kind)


def _keep(plan: Plan, timings: Timings, *, on_event: Listener) -> int:
    for text in timings.warnings:
        on_event(Warned(text=text))
    keep_timings(plan, timings.records, on_event=on_event)
    return len(timings.records)
