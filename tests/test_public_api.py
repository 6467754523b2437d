import subprocess
import sys

import pytest

import switchbench


def test_every_name_is_there_and_documented() -> None:
    for name in switchbench.__all__:
        assert getattr(switchbench, name) is not None
        assert name in dir(switchbench)
        if not name.startswith("__"):
            assert f"``{name}(" in (switchbench.__doc__ or "")


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import switchbench, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pandas", "numpy", "pydantic", "rich", "typer"} & set(modules)
    assert [name for name in modules if name.startswith("switchbench")] == ["switchbench"]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'switchbench' has no attribute 'load_run'"):
        switchbench.load_run  # noqa: B018
