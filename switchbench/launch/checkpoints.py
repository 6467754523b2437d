"""Which runs keep their final weights, for `switchbench generate`, and what to do where they were not kept."""

from switchbench.launch.plan import Plan, PlannedCell
from switchbench.store import SweepFolder


def keeps_checkpoint(cell: PlannedCell, *, folder: SweepFolder, keeps_all: bool) -> bool:
    """Whether a run keeps its final weights: where it is asked to, and where those of an earlier attempt are there.

    Tries keep none: they are for the choice of a value alone.

    Args:
        cell: The run.
        folder: The sweep's folder.
        keeps_all: Whether all runs are asked to.
    """
    is_asked = cell.spec.train.keep_checkpoint or keeps_all
    return (is_asked and cell.cell.role != "tuning") or folder.checkpoint_path(cell.spec.run_id).exists()


def unkept_line(plan: Plan, *, keeps_all: bool) -> str | None:
    """Say which runs are asked to keep their weights and were done before without; None: there are none.

    Args:
        plan: The plan.
        keeps_all: Whether all runs are asked to.
    """
    unkept = [
        cell
        for cell in plan.chosen
        if cell.status == "ok"
        and cell.action == "skip"
        and keeps_checkpoint(cell, folder=plan.folder, keeps_all=keeps_all)
        and not plan.folder.checkpoint_path(cell.spec.run_id).exists()
    ]
    if not unkept:
        return None
    runs, them = ("run was", "it") if len(unkept) == 1 else ("runs were", "them")
    return (
        f"{len(unkept)} {runs} done before and kept no checkpoint; --force trains {them} again, which gives the same "
        "weights on this machine (with --filter only some of them)"
    )
