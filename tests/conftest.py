"""What holds for all tests."""

import os
import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def _listening_to_ctrl_c() -> None:
    """Let tests of Ctrl-C work when the suite runs in the background, where shells start programs deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _as_wide_as_a_pipe() -> None:
    """Tests that run side by side are told of a terminal of 80 columns, which is not there."""
    os.environ.pop("COLUMNS", None)
