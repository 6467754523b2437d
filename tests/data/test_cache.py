"""Prepared corpora on disk: reuse, damage, races, and folders that cannot be written."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from switchbench.data.cache import default_cache_root, find_prepared, new_folder
from switchbench.data.corpora import PreparedCorpus, identify_corpus, open_prepared_corpus, prepare_corpus, read_tokens
from switchbench.errors import CorpusError
from switchbench.spec import DataSpec


@pytest.fixture
def data(tmp_path: Path) -> DataSpec:
    rng = np.random.default_rng(0)
    (tmp_path / "text").mkdir()
    for i in range(30):
        (tmp_path / "text" / f"{i}.txt").write_bytes(rng.integers(97, 123, size=900, dtype=np.uint8).tobytes())
    return DataSpec(corpus="text", path=str(tmp_path / "text"), seq_len=16, held_out_fraction=0.1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache root"


def contents(corpus: PreparedCorpus) -> tuple[bytes, bytes]:
    return corpus.train_tokens_path.read_bytes(), corpus.held_out_tokens_path.read_bytes()


def test_a_corpus_is_prepared_once_and_opened_by_its_fingerprint(data: DataSpec, root: Path):
    first = prepare_corpus(data, cache_root=root)
    told: list[str] = []
    assert prepare_corpus(data, cache_root=root, progress=lambda doing, _: told.append(doing)) == first
    assert told == ["reading text", "corpus ready"]
    assert open_prepared_corpus(first.fingerprint, cache_root=root) == first
    assert [path.name for path in root.iterdir()] == [first.fingerprint]


def test_meta_names_the_files_that_are_held_out(data: DataSpec, root: Path, tmp_path: Path):
    corpus = prepare_corpus(data, cache_root=root)
    held_out = json.loads((root / corpus.fingerprint / "meta.json").read_text())["held_out_files"]
    text = b"".join(b"\0" + (tmp_path / "text" / name).read_bytes() for name in held_out)
    assert text == corpus.held_out_tokens_path.read_bytes()


def test_tokens_are_mapped_read_only(data: DataSpec, root: Path):
    corpus = prepare_corpus(data, cache_root=root)
    tokens = read_tokens(corpus.train_tokens_path, vocab_size=corpus.vocab_size)
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == np.uint8
    assert len(tokens) == corpus.num_train_tokens
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1
    with pytest.raises(CorpusError, match=r"cannot read the tokens at '.*nowhere'"):
        read_tokens(root / "nowhere", vocab_size=256)


@pytest.mark.parametrize(
    "damage", ["no meta", "half a meta", "wrong meta", "short tokens", "no tokens", "other tokens", "empty", "a file"]
)
def test_a_damaged_corpus_is_made_again(damage: str, data: DataSpec, root: Path):
    corpus = prepare_corpus(data, cache_root=root)
    intact = contents(corpus)
    folder = root / corpus.fingerprint
    meta = folder / "meta.json"
    match damage:
        case "no meta":
            meta.unlink()
        case "half a meta":
            meta.write_bytes(meta.read_bytes()[:50])
        case "wrong meta":
            meta.write_text(json.dumps(json.loads(meta.read_text()) | {"num_files": "many"}))
        case "short tokens":
            corpus.held_out_tokens_path.write_bytes(intact[1][:-1])
        case "no tokens":
            corpus.train_tokens_path.unlink()
        case "other tokens":
            corpus.train_tokens_path.write_bytes(intact[0][:-1] + b"!")
        case "empty":
            for file in folder.iterdir():
                file.unlink()
        case "a file":
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
            folder.write_text("in the way")
    if damage != "other tokens":  # is seen by who reads them all: the command that prepares
        with pytest.raises(CorpusError, match=rf"no intact corpus {corpus.fingerprint}; start the sweep again"):
            open_prepared_corpus(corpus.fingerprint, cache_root=root)
    assert prepare_corpus(data, cache_root=root) == corpus
    assert contents(corpus) == intact
    assert [path.name for path in root.iterdir()] == [corpus.fingerprint], "nothing is left behind"


def test_of_two_processes_one_builds_and_the_other_waits(data: DataSpec, root: Path):
    script = (
        "import sys, time; from pathlib import Path; from switchbench.data.corpora import prepare_corpus\n"
        "from switchbench.spec import DataSpec\n"
        "told = []\n"
        "def meet(doing, fraction):\n"
        "    told.append(doing)\n"
        "    mine, other = map(Path, sys.argv[3:])\n"
        "    until = time.monotonic() + 30\n"
        "    if doing == 'reading text':\n"
        "        mine.touch()\n"
        "        while not other.exists() and time.monotonic() < until: time.sleep(0.005)\n"
        "    elif doing.startswith('waiting'):\n"
        "        mine.unlink(missing_ok=True)\n"
        "    elif doing.startswith('looking'):\n"
        "        while other.exists() and time.monotonic() < until: time.sleep(0.005)\n"
        "data = DataSpec.model_validate_json(sys.argv[1])\n"
        "corpus = prepare_corpus(data, cache_root=Path(sys.argv[2]), progress=meet)\n"
        "print(any(doing == 'writing tokens' for doing in told), corpus, sep='|')"
    )
    signs = [str(root.with_name("sign 1")), str(root.with_name("sign 2"))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, data.model_dump_json(), str(root), *order], stdout=subprocess.PIPE, text=True
        )
        for order in (signs, signs[::-1])
    ]
    answers = [process.communicate(timeout=90)[0].split("|") for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(has_built for has_built, _ in answers) == ["False", "True"]
    assert answers[0][1] == answers[1][1] != ""
    fingerprint = identify_corpus(data).fingerprint
    assert [path.name for path in root.iterdir()] == [fingerprint]


def test_a_lock_that_cannot_be_taken_is_no_obstacle(data: DataSpec, root: Path):
    fingerprint = identify_corpus(data).fingerprint
    (root / f".{fingerprint}.lock").mkdir(parents=True)
    assert prepare_corpus(data, cache_root=root).fingerprint == fingerprint


def test_the_later_of_two_builders_uses_the_others_work(data: DataSpec, root: Path):
    corpus = prepare_corpus(data, cache_root=root)
    inode = corpus.train_tokens_path.stat().st_ino
    with new_folder(root, corpus.fingerprint) as folder:
        (folder / "train.tokens").write_bytes(b"the same, as far as anybody knows")
    assert corpus.train_tokens_path.stat().st_ino == inode
    assert [path.name for path in root.iterdir()] == [corpus.fingerprint]


def test_a_build_that_fails_leaves_nothing(root: Path):
    def build() -> None:
        with new_folder(root, "0123456789abcdef") as folder:
            (folder / "train.tokens").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build()
    assert list(root.iterdir()) == []
    assert find_prepared(root, "0123456789abcdef") is None


@pytest.mark.parametrize("room", [0, 2000])
def test_a_disk_that_is_full_is_said_and_loses_nothing(room: int, data: DataSpec, root: Path):
    # A limit on the size of files fails the same writes as a full disk, with another errno.
    script = (
        "import resource, sys; from pathlib import Path; from switchbench.data.corpora import prepare_corpus\n"
        "from switchbench.errors import CorpusError; from switchbench.spec import DataSpec\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    prepare_corpus(DataSpec.model_validate_json(sys.argv[1]), cache_root=Path(sys.argv[2]))\n"
        "except CorpusError as error:\n"
        "    print(error)"
    )
    command = [sys.executable, "-c", script, data.model_dump_json(), str(root), str(room)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot write the cache folder" in said
    assert "File too large" in said
    assert "that can be written and has room" in said
    assert list(root.iterdir()) == [], "nothing half-done is left"
    assert prepare_corpus(data, cache_root=root).num_train_tokens > 0


def test_a_disk_that_is_full_at_the_last_moment(data: DataSpec, root: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CorpusError, match=r"cannot write the cache folder .*: No space left on device; set the"):
            prepare_corpus(data, cache_root=root)
    assert list(root.iterdir()) == []
    assert prepare_corpus(data, cache_root=root).num_train_tokens > 0


def test_a_cache_that_cannot_be_written_says_what_to_set(data: DataSpec, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(
        CorpusError,
        match=r"cannot write the cache folder '.*file/x': .*; set the environment variable SWITCHBENCH_CACHE",
    ):
        prepare_corpus(data, cache_root=tmp_path / "file" / "x")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SWITCHBENCH_CACHE": "/a b", "XDG_CACHE_HOME": "/x"}, "/a b"),
        ({"SWITCHBENCH_CACHE": "~/c"}, "/home/me/c"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/switchbench"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/switchbench"),
        ({"SWITCHBENCH_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/switchbench"),
        ({}, "/home/me/.cache/switchbench"),
    ],
)
def test_the_environment_says_where_the_cache_is(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
):
    for name in ("SWITCHBENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/me"} | variables).items():
        monkeypatch.setenv(name, value)
    assert str(default_cache_root()) == expected


def test_a_relative_cache_gives_absolute_paths(data: DataSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    corpus = prepare_corpus(data, cache_root=Path("here"))
    assert os.path.isabs(corpus.train_tokens_path)
    assert corpus.train_tokens_path.is_relative_to(tmp_path / "here")
