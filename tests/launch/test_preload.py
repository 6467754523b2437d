"""The fork server has imported all that a run will import, and can still fork."""

import os
import subprocess
import sys

PROGRAM = """
import switchbench.launch.preload, sys, torch, psutil
threads = psutil.Process().num_threads()
before = set(sys.modules)
from switchbench.data.batches import Batch
from switchbench.train.steps import start_training, take_step
from tests.specs import sparse, tiny_run
state = start_training(tiny_run(ffn=sparse()), device=torch.device("cpu"))
tokens = torch.zeros(8, 32, dtype=torch.int64)
take_step(state, Batch(inputs_BS=tokens, targets_BS=tokens), learning_rate=1e-3)
print(threads, sorted(name for name in set(sys.modules) - before if not name.startswith("tests")))
"""


def test_a_run_imports_nothing_more_and_the_server_has_one_thread() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    ).stdout
    assert printed.strip() == "1 []"
