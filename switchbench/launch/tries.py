"""How the tries of a sweep that tunes ended: what the choice of the best values is made from."""

from collections.abc import Iterable

from switchbench.store import SweepFolder, UnreadableFile, parquet_files, read_run
from switchbench.sweep import TryEnd, Tuning


def ends_of_tries(tuning: Tuning, *, folder: SweepFolder, unreadable: Iterable[UnreadableFile]) -> dict[str, TryEnd]:
    """Give how tries ended, by run_id; those of earlier grids are among them.

    A try whose result cannot be read and stays where it is has failed; one that is made anew has not ended.

    Args:
        tuning: What is tuned.
        folder: The sweep's folder.
        unreadable: The result files that cannot be read.
    """
    broken = {file.path.stem: file for file in unreadable}
    failed = {run_id: TryEnd(status="unreadable", nll=None) for run_id, file in broken.items() if not file.is_remade}
    ends = {
        row.run_id: TryEnd(status=row.status, nll=row.nll if row.nll is not None else row.nll_capacity)
        for path in parquet_files(folder.runs)
        if path.stem not in broken
        for row in read_run(folder, path.stem)
        if row.parent_run_id is None and row.seed in tuning.seeds
    }
    return ends | failed
