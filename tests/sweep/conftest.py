"""A sweep file in a folder of its own, and a corpus that needs no reading."""

from collections.abc import Callable
from pathlib import Path

import pytest

from switchbench.errors import Problem, SweepFileError
from switchbench.spec import DataIdentity, DataSpec
from switchbench.sweep import Sweep, load_sweep

Load = Callable[..., Sweep]
Problems = Callable[..., list[Problem]]


def identify(data: DataSpec) -> DataIdentity:
    return DataIdentity(fingerprint=f"{data.corpus}-{data.path}-fingerprint", vocab_size=256)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Writes a text to `sweep.yaml` and loads it."""
    monkeypatch.chdir(tmp_path)

    def load(text: str | bytes, *overrides: str, identify: Callable[[DataSpec], DataIdentity] = identify) -> Sweep:
        path = Path("sweep.yaml")
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_sweep(path, overrides=overrides, identify=identify)

    return load


@pytest.fixture
def problems_of(load: Load) -> Problems:
    """Loads a text that is wrong and returns its problems."""

    def problems_of(text: str | bytes, *overrides: str, **kwargs: object) -> list[Problem]:
        with pytest.raises(SweepFileError) as caught:
            load(text, *overrides, **kwargs)
        return caught.value.problems

    return problems_of
