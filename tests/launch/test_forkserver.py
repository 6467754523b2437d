import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import rich.console  # noqa: F401 - the parent has it; its children must not
import typer

from switchbench.errors import SwitchbenchError
from switchbench.launch.forkserver import (
    DEFAULT_ENVIRONMENT,
    _process_start,
    describe_death,
    end_processes,
    start_process,
    warm_server,
)

ROOT = Path(__file__).resolve().parents[2]
STAND_INS = "tests.launch.stand_ins"


@pytest.fixture
def server() -> Iterator[None]:
    with warm_server(preload="switchbench.launch.messages"):
        yield


@pytest.fixture
def main_that_imports_typer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``__main__`` like the console script, which a child would import again if it saw it."""
    script = tmp_path / "script.py"
    script.write_text("import typer, rich\n", encoding="utf-8")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)


@pytest.mark.usefixtures("main_that_imports_typer", "server")
def test_children_do_not_import_the_command_line() -> None:
    process, connection = start_process(f"{STAND_INS}:facts")
    modules = connection.recv()["modules"]
    process.join()
    assert typer.__name__ in sys.modules
    assert not {"typer", "rich", "torch", "pandas"} & modules
    assert "switchbench.launch.messages" in modules


@pytest.mark.usefixtures("server")
def test_later_processes_start_at_once() -> None:
    def start_s() -> float:
        start = time.perf_counter()
        process, connection = start_process("tests.launch.greeter:greet")
        connection.recv()
        elapsed = time.perf_counter() - start
        process.join()
        return elapsed

    start_s()
    assert min(start_s() for _ in range(10)) < 0.1


def test_environment_is_ours_in_children_and_the_users_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TOP_PAD_", "12345")
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    before = dict(os.environ)
    with warm_server(preload="json"):
        process, connection = start_process(f"{STAND_INS}:facts", environment={"CUDA_VISIBLE_DEVICES": "3"})
        child = connection.recv()["environment"]
        process.join()
        assert dict(os.environ) == before
    assert child["MALLOC_TOP_PAD_"] == "12345"  # the user's choice
    assert child["MALLOC_TRIM_THRESHOLD_"] == DEFAULT_ENVIRONMENT["MALLOC_TRIM_THRESHOLD_"]
    assert "OMP_PROC_BIND" not in child
    assert child["OMP_NUM_THREADS"] == "1"
    assert child["CUDA_VISIBLE_DEVICES"] == "3"


def test_main_module_is_back_afterwards() -> None:
    main = sys.modules["__main__"]
    with warm_server(preload="json"):
        end_processes([start_process(f"{STAND_INS}:sleep", 60)[0]])
        assert sys.modules["__main__"] is main


def test_nothing_is_left_of_a_server_and_its_processes() -> None:
    with warm_server(preload="json"):
        _, connection = start_process(f"{STAND_INS}:sleep", 60)
        process = psutil.Process(connection.recv())
        family = [process, psutil.Process(process.ppid())]
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
    assert not multiprocessing.active_children()
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


def test_a_server_is_stopped_while_it_still_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_import.py").write_text("import time\ntime.sleep(30)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)  # the server looks for modules in its current folder, whatever the version of Python
    start = time.perf_counter()
    with warm_server(preload="slow_import"):
        time.sleep(0.3)
    assert time.perf_counter() - start < 10


@pytest.mark.usefixtures("server")
def test_ctrl_c_does_not_reach_processes() -> None:
    process, connection = start_process(f"{STAND_INS}:sleep", 0.3)
    os.kill(connection.recv(), signal.SIGINT)
    process.join()
    assert process.exitcode == 0


def test_ctrl_c_arrives_here_once_a_process_has_started() -> None:
    main, environment, steps = sys.modules["__main__"], dict(os.environ), []

    def interrupt_and_go_on() -> None:
        with _process_start():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("gone on")
        steps.append("never here")

    with pytest.raises(KeyboardInterrupt):
        interrupt_and_go_on()
    assert steps == ["gone on"]
    assert sys.modules["__main__"] is main
    assert dict(os.environ) == environment


def test_processes_end_with_a_parent_that_is_killed() -> None:
    script = (
        "import time\n"
        "from switchbench.launch.forkserver import start_process, warm_server\n"
        "with warm_server(preload='json'):\n"
        f"    process, connection = start_process('{STAND_INS}:sleep', 60)\n"
        "    print(connection.recv(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        process = psutil.Process(pid)
        family = [process, psutil.Process(process.ppid())]
        parent.kill()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


@pytest.mark.usefixtures("server")
def test_a_process_that_will_not_go_is_killed() -> None:
    process, connection = start_process("tests.launch.stand_ins:sleep_deaf", 60)
    connection.recv()
    end_processes([process], patience_s=0.1)
    assert process.exitcode == -signal.SIGKILL


def test_a_start_that_the_system_refuses_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", refuse)
    with pytest.raises(SwitchbenchError, match=r"could not start a process: .*Resource temporarily unavailable"):
        start_process(f"{STAND_INS}:facts")


@pytest.mark.parametrize(
    ("exit_code", "status", "reason"),
    [
        (-9, "killed", "killed by SIGKILL (sent from outside, or by the system when memory ran out)"),
        (-15, "killed", "killed by SIGTERM"),
        (-11, "crashed", "crashed by SIGSEGV"),
        (-200, "killed", "killed by signal 200"),
        (1, "crashed", "ended without a result, exit code 1: ValueError: last words"),
        (0, "crashed", "ended without a result, exit code 0: ValueError: last words"),
    ],
)
def test_deaths_in_words(tmp_path: Path, exit_code: int, status: str, reason: str) -> None:
    log = tmp_path / "run.log"
    log.write_text("much\nValueError: last words\n\n", encoding="utf-8")
    assert describe_death(exit_code, log_path=log) == (status, reason)


def test_a_death_without_a_log(tmp_path: Path) -> None:
    assert describe_death(1, log_path=tmp_path / "absent") == ("crashed", "ended without a result, exit code 1")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python puts the socket elsewhere by itself")
def test_a_folder_for_temporary_files_that_is_too_deep_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    program = (
        "from switchbench.errors import SwitchbenchError\n"
        "from switchbench.launch.forkserver import warm_server\n"
        "try:\n"
        "    with warm_server(preload='zipapp'): pass\n"
        "except SwitchbenchError as error: print(error)"
    )
    environment = os.environ | {"TMPDIR": str(deep)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert "set TMPDIR to a shorter one" in done.stdout
    assert str(deep) in done.stdout
