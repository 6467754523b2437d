"""Loaded by every Python process of a command whose PYTHONPATH names this folder: breaks what FAULT names.

clock: ``time.time`` jumps by an hour, to and fro, every few calls.
write: after FAULT_AFTER files under a folder FAULT_FOLDER, the next one breaks off in the middle with FAULT_ERRNO; with
    FAULT_AFTER=0, nothing can be made or opened for writing in any folder of that name.
leak: runs with the seed FAULT_SEED take more and more memory instead of training.
slow: runs wait for FAULT_SECONDS before they train.
"""

import builtins
import errno
import io
import os
import sys
import time
from typing import Any

FAULT = os.environ.get("FAULT", "")


def break_clock() -> None:
    real, calls = time.time, 0

    def jumping() -> float:
        nonlocal calls
        calls += 1
        return real() + (3600 if calls % 8 >= 4 else -3600)

    time.time = jumping


def break_files() -> None:
    number, after = getattr(errno, os.environ["FAULT_ERRNO"]), int(os.environ["FAULT_AFTER"])
    folder = os.environ["FAULT_FOLDER"]
    sync, opened, count = os.fsync, io.open, 0

    def break_off(descriptor: int) -> None:
        nonlocal count
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.basename(os.path.dirname(path)) == folder:
            count += 1
            if count > after:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                raise OSError(number, os.strerror(number), path)
        sync(descriptor)

    def refuse(file: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        if set(mode) & set("wax+") and folder in os.fspath(file).split(os.sep) if not isinstance(file, int) else False:
            raise OSError(number, os.strerror(number), file)
        return opened(file, mode, *arguments, **keywords)

    if after:
        os.fsync = break_off
    else:
        builtins.open = io.open = refuse


def replace_runs() -> None:
    """Called in every process that the fork server starts, after the worker's module was imported."""
    worker = sys.modules.get("switchbench.launch.worker")
    if worker is None:
        return
    train_run = worker.train_run

    def train(spec: Any, execution: Any, **keywords: Any) -> Any:
        if FAULT == "slow":
            time.sleep(float(os.environ["FAULT_SECONDS"]))
        leak = []
        while FAULT == "leak" and spec.seed == int(os.environ["FAULT_SEED"]):
            leak.append(os.urandom(1 << 20) * 16)
            time.sleep(0.02)
        return train_run(spec, execution, **keywords)

    worker.train_run = train


match FAULT:
    case "clock":
        break_clock()
    case "write":
        break_files()
    case "leak" | "slow":
        os.register_at_fork(after_in_child=replace_runs)
