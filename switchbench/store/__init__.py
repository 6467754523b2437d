"""What a sweep leaves on disk: a manifest and one Parquet file per run, each written whole or not at all.

``store.frames`` reads the same files as data frames. It alone imports pandas, and is not imported here, so that a sweep
and its report start without it.
"""

from switchbench.store.folder import SweepFolder, as_utf8, find_sweeps, write_atomically
from switchbench.store.manifest import (
    MANIFEST_SCHEMA,
    Control,
    Manifest,
    ManifestCell,
    PrimaryPair,
    TunedConfiguration,
    TuningTry,
    read_manifest,
    read_tries,
    write_manifest,
)
from switchbench.store.reading import (
    ResultsFileWarning,
    UnreadableFile,
    parquet_files,
    read_curve,
    read_run,
    read_runs,
    read_spec,
    read_status,
    read_statuses,
    read_steps,
    read_timings,
    timed_configs,
)
from switchbench.store.writing import write_run, write_timing

__all__ = [
    "MANIFEST_SCHEMA",
    "Control",
    "Manifest",
    "ManifestCell",
    "PrimaryPair",
    "ResultsFileWarning",
    "SweepFolder",
    "TunedConfiguration",
    "TuningTry",
    "UnreadableFile",
    "as_utf8",
    "find_sweeps",
    "parquet_files",
    "read_curve",
    "read_manifest",
    "read_run",
    "read_runs",
    "read_spec",
    "read_status",
    "read_statuses",
    "read_steps",
    "read_timings",
    "read_tries",
    "timed_configs",
    "write_atomically",
    "write_manifest",
    "write_run",
    "write_timing",
]
