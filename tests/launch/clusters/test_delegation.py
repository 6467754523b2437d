"""The options that say where runs are executed; without the packages that reach there."""

import subprocess
import sys
from typing import Any

import pytest

from switchbench.errors import UsageError
from switchbench.launch.clusters import delegation
from switchbench.launch.clusters.delegation import check_options
from switchbench.launch.slots import Cluster

DEFAULTS: dict[str, Any] = {"address": None, "slurm": (), "workers": None, "threads": 1}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegation, "find_spec", lambda name: name)


def test_this_machine_is_no_cluster() -> None:
    assert check_options("local", **DEFAULTS) is None


def test_options_of_a_cluster(installed: None) -> None:
    assert check_options("ray", **DEFAULTS | {"address": "10.0.0.1:6379"}) == Cluster(
        kind="ray", address="10.0.0.1:6379"
    )
    options = ["partition=gpu", "time=90", "cpus-per-gpu=4", "comment=a=b"]
    assert check_options("slurm", **DEFAULTS | {"slurm": options}) == Cluster(
        kind="slurm", slurm={"partition": "gpu", "time": "90", "cpus_per_gpu": "4", "comment": "a=b"}
    )


@pytest.mark.parametrize(
    ("executor", "options", "words"),
    [
        ("local", {"address": "10.0.0.1:6379"}, "--address goes with --executor ray"),
        ("slurm", {"address": "10.0.0.1:6379"}, "--address goes with --executor ray"),
        ("ray", {"slurm": ["partition=gpu"]}, "--slurm goes with --executor slurm"),
        ("slurm", {"slurm": ["partition"]}, "takes KEY=VALUE, such as partition=gpu, got 'partition'"),
        ("ray", {"threads": 0}, "--threads must be at least 1"),
        ("ray", {"workers": 0}, "--workers must be at least 1"),
    ],
)
def test_options_that_do_not_fit(executor: str, options: dict[str, Any], words: str, installed: None) -> None:
    with pytest.raises(UsageError, match=words):
        check_options(executor, **DEFAULTS | options)


@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_named_with_its_command(
    executor: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegation, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        check_options(executor, **DEFAULTS)
    assert f"needs the package {package}" in str(caught.value)
    assert f"pip install 'switchbench[{executor}]'" in str(caught.value)
    assert caught.value.exit_code == 2


def test_packages_of_clusters_are_imported_where_they_are_asked_for_alone() -> None:
    code = (
        "import sys, switchbench.launch.run, switchbench.launch.clusters.delegation; "
        "print({'ray', 'submitit', 'torch'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
