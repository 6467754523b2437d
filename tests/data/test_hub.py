"""Data sets: the real loading code, on data sets that the test writes to disk, and what is said without the Hub."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
from pydantic import ValidationError

from switchbench.data.corpora import identify_corpus, prepare_corpus
from switchbench.data.hub import hub_definition, read_hub, resolve_revision
from switchbench.errors import CorpusError
from switchbench.spec import DataSpec

COMMIT = "b08601e04326c79dfdd32d625aee71d232d685c3"
TEXTS = [f"Story {i}: " + " ".join(str(i * j % 9973) for j in range(40)) for i in range(300)]


@pytest.fixture(scope="module", params=["parquet", "jsonl", "arrow", "arrow of splits"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data set")
    rows = {"id": list(range(len(TEXTS))), "text": TEXTS, "body": [text.upper() for text in TEXTS]}
    saved = datasets.Dataset.from_dict(rows)
    match request.param:
        case "parquet":
            saved.to_parquet(str(root / "train-00000-of-00001.parquet"))
        case "jsonl":
            (root / "train.jsonl").write_text(
                "".join(
                    json.dumps(dict(zip(rows, row, strict=True))) + "\n" for row in zip(*rows.values(), strict=True)
                )
            )
        case "arrow":
            saved.save_to_disk(str(root))
        case "arrow of splits":
            datasets.DatasetDict({"train": saved, "test": saved.select(range(3))}).save_to_disk(str(root))
    return root


def hf(folder: Path, **fields: Any) -> DataSpec:
    return DataSpec(corpus="hf", path=str(folder), **({"held_out_fraction": 0.2, "seq_len": 16} | fields))


def hub(**fields: Any) -> DataSpec:
    return DataSpec(**({"corpus": "hf:roneneldan/TinyStories", "max_documents": 10} | fields))


def test_a_data_set_on_disk_is_read_row_by_row(folder: Path, tmp_path: Path):
    corpus = prepare_corpus(hf(folder), cache_root=tmp_path)
    parts = (path.read_bytes().split(b"\0")[1:] for path in (corpus.train_tokens_path, corpus.held_out_tokens_path))
    train, held_out = parts
    assert sorted(train + held_out) == sorted(text.encode() for text in TEXTS)
    assert (corpus.num_files, corpus.num_held_out_files) == (300, len(held_out))
    assert (corpus.revision, corpus.invalid_bytes) == (None, 0)
    assert corpus.fingerprint == identify_corpus(hf(folder)).fingerprint


def test_the_limits_the_column_and_the_split_decide_what_is_read(folder: Path, tmp_path: Path):
    everything = list(read_hub(hf(folder), revision=None))
    assert list(read_hub(hf(folder, max_documents=7), revision=None)) == everything[:7]
    limited = list(read_hub(hf(folder, max_bytes=1000), revision=None))
    assert sum(map(len, limited[:-1])) < 1000 <= sum(map(len, limited))
    assert limited == everything[: len(limited)]
    assert list(read_hub(hf(folder, column="body"), revision=None)) == [text.upper() for text in everything]
    names = [hf(folder), hf(folder, max_documents=7), hf(folder, max_bytes=1000), hf(folder, column="body")]
    names.append(hf(folder, hf_split="test"))
    assert len({hub_definition(name, revision=None) for name in names}) == 5
    with pytest.raises(CorpusError, match=r"document 1 of .* has no column 'txt', only 'id', 'text', 'body'"):
        list(read_hub(hf(folder, column="txt"), revision=None))
    with pytest.raises(CorpusError, match=r"row|document 1 of .* has int in the column 'id', which must be text"):
        list(read_hub(hf(folder, column="id"), revision=None))


def test_a_split_that_is_not_there_is_said(folder: Path):
    if not (folder / "state.json").exists():  # a single table on disk has no splits
        with pytest.raises(CorpusError, match=r"no split 'tset'|data\.hf_split 'tset'"):
            list(read_hub(hf(folder, hf_split="tset"), revision=None))


def test_what_changes_on_disk_changes_the_identity(tmp_path: Path):
    path = tmp_path / "set" / "train.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    before = identify_corpus(hf(path.parent)).fingerprint
    assert identify_corpus(hf(path.parent)).fingerprint == before
    path.write_text(path.read_text().replace("Story 7:", "Story 8:"))
    assert identify_corpus(hf(path.parent)).fingerprint != before


def test_a_folder_without_a_data_set_is_said(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"data\.path '.*nowhere' is no folder .*; give the folder of a data set"):
        identify_corpus(hf(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"cannot load data\.path '.*empty' as a data set: .*; check the folder"):
        prepare_corpus(hf(tmp_path / "empty"), cache_root=tmp_path / "cache")


@pytest.mark.parametrize(
    ("corpus", "name", "config"),
    [
        ("hf:allenai/c4/en", "allenai/c4", "en"),
        ("hf:Salesforce/wikitext/wikitext-103-raw-v1", "Salesforce/wikitext", "wikitext-103-raw-v1"),
        ("hf:roneneldan/TinyStories", "roneneldan/TinyStories", None),
        ("hf:HuggingFaceFW/fineweb-edu/sample-10BT", "HuggingFaceFW/fineweb-edu", "sample-10BT"),
        ("hf:imdb", "imdb", None),
    ],
)
def test_names_of_the_hub(corpus: str, name: str, config: str | None):
    spec = DataSpec(corpus=corpus, max_bytes=10**6)
    assert (spec.corpus_kind, spec.hub_name, spec.hub_config) == ("hf", name, config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_documents": None}, "needs max_documents or max_bytes"),
        ({"path": "here"}, "`path` goes with corpus 'text' or 'hf'"),
        ({"corpus": "hf:a/b/c/d"}, "must be 'python-stdlib', 'text', 'zipf-markov', 'hf' or 'hf:NAME'"),
        ({"corpus": "hf:"}, "or 'hf:NAME'"),
        ({"corpus": "hf"}, "corpus 'hf' needs `path`"),
        ({"corpus": "hf", "path": "here", "hf_revision": "main"}, "`hf_revision` goes with corpus 'hf:NAME'"),
        ({"corpus": "python-stdlib"}, "`max_documents` goes with corpus 'hf', not with 'python-stdlib'"),
    ],
)
def test_fields_that_do_not_go_together(fields: dict[str, Any], message: str):
    with pytest.raises(ValidationError) as refused:
        hub(**fields)
    assert message in str(refused.value)


def test_a_full_commit_identifies_without_asking_the_hub():
    pinned = hub(hf_revision=COMMIT)
    assert resolve_revision(pinned) == COMMIT
    identity = identify_corpus(pinned)
    others = [hub(hf_revision=COMMIT[::-1]), hub(hf_revision=COMMIT, max_documents=11)]
    assert len({identity.fingerprint, *(identify_corpus(other).fingerprint for other in others)}) == 3


@pytest.mark.parametrize(
    ("environment", "revisions"),
    [({"HF_HUB_OFFLINE": "1"}, ["", COMMIT]), ({"HF_ENDPOINT": "http://127.0.0.1:9"}, [""])],  # a commit is retried
)
def test_without_the_hub_it_is_said_what_to_do(environment: dict[str, str], revisions: list[str], tmp_path: Path):
    script = (
        "import sys; from pathlib import Path; from switchbench.data.corpora import identify_corpus, prepare_corpus\n"
        "from switchbench.errors import CorpusError; from switchbench.spec import DataSpec\n"
        "for revision in sys.argv[2:]:\n"
        "    data = DataSpec(corpus='hf:roneneldan/TinyStories', max_documents=10, hf_revision=revision or None)\n"
        "    try:\n"
        "        prepare_corpus(data, cache_root=Path(sys.argv[1]))\n"
        "    except CorpusError as error:\n"
        "        print(error)\n"
    )
    home = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cache"), *revisions],
        capture_output=True, text=True, check=True, env=home | environment, timeout=120,
    )  # fmt: skip
    messages = done.stdout.splitlines()
    assert len(messages) == len(revisions)
    for message in messages:
        assert message.startswith("cannot load data.corpus 'hf:roneneldan/TinyStories' from the Hugging Face Hub: ")
        assert message.endswith("give data.corpus 'hf' with the folder of a downloaded copy as data.path")
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    for data in (hub(), hub(hf_revision=COMMIT)):
        with pytest.raises(
            CorpusError, match=r"'hf:roneneldan/TinyStories' needs the library datasets.*switchbench\[hf\]"
        ):
            identify_corpus(data)
