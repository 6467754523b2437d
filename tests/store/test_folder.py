import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import make_runs, make_spec, make_steps

from switchbench.errors import ResultsFolderError
from switchbench.store import SweepFolder, as_utf8, find_sweeps, read_runs, write_atomically, write_run


def test_create_makes_every_part_and_can_be_repeated(tmp_path: Path):
    folder = SweepFolder(tmp_path / "a sweep, größer")
    folder.create()
    folder.create()
    assert {path.name for path in folder.path.iterdir()} == {
        "runs", "steps", "timings", "logs", "checkpoints", "report",
    }  # fmt: skip
    assert not [path for path in folder.path.rglob("*") if path.is_file()]


def test_a_file_in_the_way_is_named_with_what_to_do(tmp_path: Path):
    in_the_way = tmp_path / "results"
    in_the_way.write_text("not a folder")
    with pytest.raises(
        ResultsFolderError, match=r"results is not a folder; choose another place with --results"
    ) as caught:
        SweepFolder(in_the_way / "capacity").create()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EACCES, "Choose a folder that you may write to with --results"),
        (errno.EROFS, "Choose a folder that you may write to with --results"),
        (errno.ENOSPC, "Free some space and run the same command again"),
        (errno.EIO, "Choose another place with --results"),
    ],
)
def test_a_folder_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
):
    """Root may write anywhere, so the refusal is injected."""

    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code), str(self))

    folder = SweepFolder(tmp_path / "capacity")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(ResultsFolderError, match=remedy):
            folder.create()
    folder.create()
    monkeypatch.setattr(Path, "write_bytes", refuse)  # the folder is there, and turns out not to be writable
    with pytest.raises(ResultsFolderError, match=remedy):
        folder.create()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(ResultsFolderError, match=r"No space left on device\. Free some space") as caught:
        write_atomically(path, b"new")
    assert str(path) in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_really_refuses_the_bytes(tmp_path: Path):
    """A limit on file sizes stands in for a full disk: the same path through the kernel."""
    folder = SweepFolder(tmp_path / "capacity")
    folder.create()
    spec = make_spec()
    runs, steps = make_runs(spec, nll=[2.0, 1.8, 1.6]), make_steps(spec, nll=[2.0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ResultsFolderError, match="Free some space"):
            write_run(folder, runs=runs, steps=steps, spec=spec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in folder.path.rglob("*") if path.is_file()]
    write_run(folder, runs=runs, steps=steps, spec=spec)
    assert len(list(folder.runs.iterdir())) == 1


def test_a_folder_that_cannot_be_synced_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "fsync", _fails_on_folders(os.fsync, errno.EINVAL))
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_folder_that_fails_to_sync_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "fsync", _fails_on_folders(os.fsync, errno.EIO))
    with pytest.raises(ResultsFolderError):
        write_atomically(tmp_path / "file", b"new")


def test_sweeps_are_direct_children_with_a_manifest_in_name_order(tmp_path: Path):
    for name in ("b sweep", "a", "reference/old", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "no manifest").mkdir()
    assert [folder.path.name for folder in find_sweeps(tmp_path)] == ["a", "b sweep"]
    assert [folder.path.name for folder in find_sweeps(tmp_path, sweep="b sweep")] == ["b sweep"]
    assert [folder.path.name for folder in find_sweeps(tmp_path / "a")] == ["a"]
    assert [folder.path.name for folder in find_sweeps(tmp_path / "a", sweep="a")] == ["a"]
    assert find_sweeps(tmp_path / "no manifest") == []


def test_an_unknown_sweep_lists_those_there_are(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    with pytest.raises(ResultsFolderError, match=r"no sweep named 'c'; the sweeps there: a, b"):
        find_sweeps(tmp_path, sweep="c")
    with pytest.raises(ResultsFolderError, match="is not a folder"):
        find_sweeps(tmp_path / "nowhere")


def _fails_on_folders(fsync: Callable[[int], None], code: int) -> Callable[[int], None]:
    def sync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    return sync


def test_names_as_the_system_gives_them_are_letters_in_files() -> None:
    assert as_utf8("größe 実").decode() == "größe 実"
    assert as_utf8("größe".encode().decode("ascii", errors="surrogateescape")).decode() == "größe"
    assert as_utf8(b"r\xe9s".decode(errors="surrogateescape")).decode() == "r\ufffds"


def test_a_name_that_is_not_utf8_is_refused_and_one_of_its_results_is_read(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / os.fsdecode(b"r\xe9s"))
    with pytest.raises(ResultsFolderError, match="has a name that is not UTF-8"):
        folder.create()
    there = SweepFolder(tmp_path / "there")
    there.create()
    spec = make_spec()
    write_run(there, runs=make_runs(spec, nll=[2.0]), steps=make_steps(spec, nll=[2.0]), spec=spec)
    there.path.rename(folder.path)
    assert {row.run_id for row in read_runs(folder)} == {spec.run_id}
