"""The fork server has imported all that a run will import, hides it from the garbage collector, and can still fork."""

import os
import subprocess
import sys

PROGRAM = """
import gc
import switchbench.launch.preload, sys, torch, psutil
is_unseen = gc.get_freeze_count() > 10 * len(gc.get_objects())
threads = psutil.Process().num_threads()
before = set(sys.modules)
from switchbench.data.batches import Batch
from switchbench.train.steps import start_training, take_step
from tests.specs import sparse, tiny_run
state = start_training(tiny_run(ffn=sparse()), device=torch.device("cpu"))
tokens = torch.zeros(8, 32, dtype=torch.int64)
take_step(state, Batch(inputs_BS=tokens, targets_BS=tokens), learning_rate=1e-3)
print(threads, is_unseen, sorted(name for name in set(sys.modules) - before if not name.startswith("tests")))
"""


def test_a_run_imports_nothing_more_and_the_server_has_one_thread() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    ).stdout
    assert printed.strip() == "1 True []"
