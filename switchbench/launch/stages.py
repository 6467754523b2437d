"""The stages of a sweep that tunes: its tries; further ones where the grid is extended; then the runs it reports."""

from collections.abc import Callable

from switchbench.launch.events import Listener, RunEnded, Warned
from switchbench.launch.plan import Plan, make_plan, write_plan_manifest
from switchbench.record import FINAL_STATUSES
from switchbench.sweep import describe_settings

Stage = Callable[[Plan], list[RunEnded]]
"""Runs what a plan can start now; gives how each run ended."""


def run_in_stages(plan: Plan, *, run: Stage, fail_fast: bool, on_event: Listener) -> tuple[Plan, list[RunEnded]]:
    """Run all that can be started, and plan anew with the results, until nothing is left; without tuning that is once.

    Args:
        plan: The plan; its manifest is written.
        run: Runs a stage.
        fail_fast: Whether nothing more is started once a run has failed.
        on_event: Told of configurations that have no runs, since all of their tries failed.

    Returns:
        The plan of the last stage, and how each run of all stages ended.

    Raises:
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
        ResultsFolderError: a result or the manifest cannot be written.
    """
    ended: list[RunEnded] = []
    over: set[str] = set()
    is_first = True  # which is also where everything but step times is there
    while plan.to_start or is_first:
        is_first = False
        ended += run(plan)
        has_failed = any(end.status not in FINAL_STATUSES for end in ended)
        if plan.sweep.tuning is None or (fail_fast and has_failed):
            break
        over |= {cell.spec.run_id for cell in plan.to_start}
        plan = make_plan(plan.sweep, folder=plan.folder, again=plan.again, only=plan.only, over=over)
        write_plan_manifest(plan)
    for choice in plan.sweep.choices:
        if all(each.failed for each in choice.tries):
            words = describe_settings(choice.settings, role=choice.kind)
            on_event(Warned(text=f"{words}: none of its tries ended well, so that it has no value to report runs with"))
    return plan, ended
