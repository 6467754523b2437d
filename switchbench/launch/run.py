"""Runs a plan from its first claim to its last step time: a failed run is a row, not the end."""

from dataclasses import dataclass, replace
from pathlib import Path

from switchbench.launch.claims import Claims
from switchbench.launch.clusters.delegation import run_on_cluster
from switchbench.launch.estimates import measured_estimates
from switchbench.launch.events import Listener, RunEnded, Warned
from switchbench.launch.forkserver import warm_server
from switchbench.launch.interrupts import first_interrupt_noted
from switchbench.launch.limits import Limits, memory_warning
from switchbench.launch.local import LocalExecutor
from switchbench.launch.locks import on_this_machine
from switchbench.launch.plan import Plan, make_plan, write_plan_manifest
from switchbench.launch.preparation import WorkerFunctions, prepare_corpora, probe_machine
from switchbench.launch.scheduler import Policy, Scheduler
from switchbench.launch.slots import Setup, claimed_cores, resolve_workers, share_out
from switchbench.launch.stages import run_in_stages
from switchbench.launch.timing_pass import time_untimed
from switchbench.record import FINAL_STATUSES
from switchbench.store import timed_configs


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep command did."""

    plan: Plan
    """The plan as it stood when the last of the work began: with the tuned values, if there are any."""
    ended: tuple[RunEnded, ...] = ()
    """The runs that were started, in the order in which they ended."""
    timed: int = 0
    """Configurations that were timed."""

    @property
    def failed(self) -> tuple[RunEnded, ...]:
        """The runs that left no result; the next command tries them again."""
        return tuple(end for end in self.ended if end.status not in FINAL_STATUSES)


def run_plan(
    plan: Plan,
    *,
    on_event: Listener,
    setup: Setup = Setup(),
    is_timed: bool = True,
    limits: Limits = Limits(),
    policy: Policy = Policy(),
    cache_root: Path | None = None,
    functions: WorkerFunctions = WorkerFunctions(),
) -> Outcome:
    """Write the manifest, run what is missing, then time what is untimed. Starts nothing when nothing is left to do.

    Commands train side by side, on cores of their own as far as there are enough; those of one sweep share its runs. A
    timing pass waits until nobody trains. Ctrl-C lets running runs keep checkpoints; a second one does not wait.

    Args:
        plan: The plan.
        on_event: Told what happens.
        setup: How the runs are executed.
        is_timed: Whether the time is estimated before the first run; step times that are not known are measured.
        limits: What the runs may take; the time is checked here, all else where the plan was made.
        policy: What is done about runs that fail, hang or grow.
        cache_root: Where prepared corpora and step times are kept; None: the default place.
        functions: What the processes run.

    Raises:
        UsageError: there are not that many cores or GPUs, there is no GPU, the estimated time is over the limit, or
            the cluster cannot be used.
        ResultsFolderError: the results cannot be written; running runs were ended, and what is finished is kept.
        CorpusError: a corpus cannot be prepared.
        SwitchbenchError: processes cannot be started.
        KeyboardInterrupt: Ctrl-C; running runs have kept checkpoints, and what is finished is kept.
    """
    if setup.cluster is None:
        resolve_workers(setup.workers, threads=setup.threads)
    plan.folder.create()
    if not plan.is_done:
        # Another command may have ended since it was made.
        plan = make_plan(plan.sweep, folder=plan.folder, again=plan.again, only=plan.only)
    if plan.is_done:
        write_plan_manifest(plan)
        return Outcome(plan=plan)
    if setup.cluster is not None:
        cluster, timed = setup.cluster, 0

        def run_stage_there(stage: Plan) -> list[RunEnded]:
            nonlocal timed
            ended, number = run_on_cluster(
                stage,
                cluster=cluster,
                setup=setup,
                policy=policy,
                cache_root=cache_root,
                functions=functions,
                on_event=on_event,
            )
            timed += number
            return ended

        plan, ended = run_in_stages(plan, run=run_stage_there, fail_fast=policy.fail_fast, on_event=on_event)
        return Outcome(plan=plan, ended=tuple(ended), timed=timed)
    with on_this_machine(alone=False, on_event=on_event) as beside_others, warm_server(preload=functions.preload):
        prepare_corpora(plan, cache_root=cache_root, on_event=on_event)
        machine = probe_machine(functions, device=setup.device, on_event=on_event)
        cores_needed = resolve_workers(setup.workers, threads=setup.threads) * setup.threads
        with claimed_cores(cores_needed, on_event=on_event) as cores:
            slots = share_out(machine, workers=setup.workers, threads=setup.threads, per_gpu=setup.per_gpu, cores=cores)
            estimates = measured_estimates(
                plan,
                setup=setup,
                machine=machine,
                slots=slots,
                is_timed=is_timed and (bool(plan.to_run) or limits.hours is not None),
                cache_root=cache_root,
                on_event=on_event,
                functions=functions,
            )
            limits.check_time(estimates)
            if (warning := memory_warning(estimates)) is not None:
                on_event(Warned(text=warning))
            write_plan_manifest(plan)  # only now: a request that cannot be met leaves what was there
            executor = LocalExecutor(
                slots,
                setup=setup,
                machine=machine,
                sweep=plan.sweep.name,
                cache_root=cache_root,
                function=functions.run,
            )
            with Claims(plan.folder, on_event=on_event) as claims, first_interrupt_noted() as is_interrupted:

                def run_stage(stage: Plan) -> list[RunEnded]:
                    return Scheduler(
                        replace(estimates, plan=stage),
                        executor=executor,
                        claims=claims,
                        policy=policy,
                        threads=setup.threads,
                        timed=timed_configs(stage.folder, machine_id=machine.machine_id),
                        keeps_all=setup.keep_checkpoints,
                        on_event=on_event,
                        is_interrupted=is_interrupted,
                    ).run()

                plan, ended = run_in_stages(plan, run=run_stage, fail_fast=policy.fail_fast, on_event=on_event)
            executor.close()
        beside_others.release()  # before the wait to be alone, or two commands would wait for each other
        timed = time_untimed(
            plan,
            machine=machine,
            execution=slots[0].execution(device=machine.device, threads=setup.threads, dispatch=setup.dispatch),
            environment=slots[0].environment,
            cache_root=cache_root,
            on_event=on_event,
            function=functions.time,
        )
    return Outcome(plan=plan, ended=tuple(ended), timed=timed)
