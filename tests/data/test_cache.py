"""Prepared corpora on disk: reuse, damage, races, and folders that cannot be written."""

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
    "damage", ["no meta", "half a meta", "wrong meta", "short tokens", "no tokens", "empty", "a file"]
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
        case "empty":
            for file in folder.iterdir():
                file.unlink()
        case "a file":
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
            folder.write_text("in the way")
    with pytest.raises(CorpusError, match=rf"no intact corpus {corpus.fingerprint}; start the sweep again"):
        open_prepared_corpus(corpus.fingerprint, cache_root=root)
    assert prepare_corpus(data, cache_root=root) == corpus
    assert contents(corpus) == intact
    assert [path.name for path in root.iterdir()] == [corpus.fingerprint], "nothing is left behind"


def test_two_processes_may_build_one_corpus_at_once(data: DataSpec, root: Path):
    script = (
        "import sys, time; from pathlib import Path; from switchbench.data.corpora import prepare_corpus\n"
        "from switchbench.spec import DataSpec\n"
        "def meet(doing, fraction):\n"
        "    # Both have seen that there is nothing before either builds.\n"
        "    if doing.startswith('looking'):\n"
        "        Path(sys.argv[3]).touch()\n"
        "        until = time.monotonic() + 30\n"
        "        while not Path(sys.argv[4]).exists() and time.monotonic() < until: time.sleep(0.005)\n"
        "data = DataSpec.model_validate_json(sys.argv[1])\n"
        "corpus = prepare_corpus(data, cache_root=Path(sys.argv[2]), progress=meet)\n"
        "print(corpus)"
    )
    signs = [str(root.with_name("sign 1")), str(root.with_name("sign 2"))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, data.model_dump_json(), str(root), *order], stdout=subprocess.PIPE, text=True
        )
        for order in (signs, signs[::-1])
    ]
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert answers[0] == answers[1] != ""
    fingerprint = identify_corpus(data).fingerprint
    assert [path.name for path in root.iterdir()] == [fingerprint]


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
