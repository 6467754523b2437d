"""The memory meter, against memory that is really taken."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from switchbench.device import MemoryMeter

MIB = 2**20
TOLERANCE = MIB
"""What an interpreter may take meanwhile."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sizes of mapped files are told by Linux alone")


def test_what_was_taken_and_given_back_counts() -> None:
    meter = MemoryMeter(torch.device("cpu"))
    taken = torch.ones(64 * MIB, dtype=torch.uint8)
    del taken
    assert meter.peak_bytes() == pytest.approx(64 * MIB, abs=TOLERANCE)


def test_what_was_there_before_does_not_count() -> None:
    before = torch.ones(64 * MIB, dtype=torch.uint8)
    meter = MemoryMeter(torch.device("cpu"))
    taken = torch.ones(32 * MIB, dtype=torch.uint8)
    assert meter.peak_bytes() == pytest.approx(32 * MIB, abs=TOLERANCE)
    assert before.sum() == 2 * taken.sum()


def test_pages_of_a_mapped_file_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(bytes(64 * MIB))
    meter = MemoryMeter(torch.device("cpu"))
    mapped = np.memmap(path, mode="r")
    assert int(mapped.sum()) == 0  # reads every page
    taken = torch.ones(32 * MIB, dtype=torch.uint8)
    assert meter.peak_bytes() == pytest.approx(32 * MIB, abs=TOLERANCE)
    assert taken.all()
