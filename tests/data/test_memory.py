"""Memory of preparing a corpus, measured in a process of its own: less than the text itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from switchbench.spec import DataSpec

MEGABYTES = 64

PREPARE = """
import resource, sys
from pathlib import Path
from switchbench.data.corpora import prepare_corpus
from switchbench.spec import DataSpec
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepare_corpus(DataSpec.model_validate_json(sys.argv[1]), cache_root=Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_one_enormous_line_is_never_in_memory(tmp_path: Path):
    rng = np.random.default_rng(0)
    with (tmp_path / "line.txt").open("wb") as file:
        for _ in range(MEGABYTES):
            words = rng.integers(97, 123, size=2**20, dtype=np.uint8)
            words[::7] = ord(" ")
            file.write(words.tobytes())
    data = DataSpec(corpus="text", path=str(tmp_path / "line.txt"))
    command = [sys.executable, "-c", PREPARE, data.model_dump_json(), str(tmp_path / "cache")]
    grown_bytes = 1024 * int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown_bytes < MEGABYTES * 2**20
