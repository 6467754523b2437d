"""Data sets of the Hugging Face Hub, and their like on disk, by Hugging Face `datasets`.

For example, each with ``max_documents`` or ``max_bytes``, which say how much of it is read:

``hf:Salesforce/wikitext/wikitext-103-raw-v1``  WikiText-103: articles of Wikipedia, a line in each row
``hf:roneneldan/TinyStories``                   TinyStories: stories in the words of small children
``hf:allenai/c4/en``                            C4: pages of the web, as T5 and the Switch Transformers were trained on
``hf:HuggingFaceFW/fineweb-edu/sample-10BT``    FineWeb-Edu: pages of the web that teach something
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from switchbench.data.rows import missing_column, text_bytes
from switchbench.data.texts import FileText, blocks
from switchbench.errors import CorpusError
from switchbench.spec import DataSpec

_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_revision(data: DataSpec) -> str | None:
    """The commit of a data set on the Hub that is meant by its revision; None for one on disk.

    A full commit is taken as it is; anything else is asked of the Hub, since a branch or tag may move.

    Raises:
        CorpusError: the Hub cannot be reached or does not know it, or the library is missing.
    """
    if data.hub_name is None:
        return None
    require_datasets(data.corpus)
    if data.hf_revision is not None and _COMMIT.fullmatch(data.hf_revision):
        return data.hf_revision
    import huggingface_hub

    try:
        return str(huggingface_hub.HfApi().dataset_info(data.hub_name, revision=data.hf_revision).sha)
    except Exception as error:  # of the library, of its HTTP client, of the system
        raise _not_loaded(data, error) from error


def hub_definition(data: DataSpec, *, revision: str | None) -> str:
    """What decides the documents of a data set: its commit, or the content of its files; and how much is read.

    Raises:
        CorpusError: the files cannot be read.
    """
    limits = f"max_documents {data.max_documents}, max_bytes {data.max_bytes}"
    content = f"{data.hub_name} {revision} {data.hub_config}" if revision else _content_of(_folder(data))
    return f"hf {content}, split {data.hf_split}, column {data.column}, {limits}"


def read_hub(data: DataSpec, *, revision: str | None) -> Iterator[bytes]:
    """Read the documents of a data set from its start, one after the other, as far as the limits go.

    A data set of the Hub is streamed: what is not read is not downloaded.

    Args:
        data: The corpus.
        revision: The commit that is read; None for a data set on disk.

    Raises:
        CorpusError: it cannot be loaded, lacks the split or the column, or has something else than text in it.
    """
    total = 0
    rows = _rows(data, revision=revision)
    number = 0
    while data.max_documents is None or number < data.max_documents:
        try:
            row = next(rows)
        except StopIteration:
            return
        except CorpusError:
            raise
        except Exception as error:  # of the library, of its HTTP client, of a file's format
            raise _not_loaded(data, error) from error
        number += 1
        where = f"document {number} of {_name(data)}"
        if data.column not in row:
            raise missing_column(data.column, found=list(row)[:20], where=where)
        text = text_bytes(row[data.column], column=data.column, where=where)
        yield text
        total += len(text)
        if data.max_bytes is not None and total >= data.max_bytes:
            return


def require_datasets(what: str) -> Any:
    """Import Hugging Face `datasets`.

    Args:
        what: What needs it, for the message.

    Raises:
        CorpusError: it is not installed.
    """
    try:
        import datasets  # an extra, and slow: it brings pandas
    except ImportError:
        raise CorpusError(
            f"data.corpus {what!r} needs the library datasets, which is not installed; "
            "install it with `pip install 'switchbench[hf]'`"
        ) from None
    return datasets


def _rows(data: DataSpec, *, revision: str | None) -> Iterator[dict[str, Any]]:
    datasets = require_datasets(data.corpus)
    if data.hub_name is not None:
        yield from datasets.load_dataset(
            data.hub_name, data.hub_config, split=data.hf_split, revision=revision, streaming=True
        )
        return
    folder = _folder(data)
    if not any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        yield from datasets.load_dataset(str(folder), split=data.hf_split, streaming=True)
        return
    saved = datasets.load_from_disk(str(folder))
    if isinstance(saved, dict):
        if data.hf_split not in saved:
            found = ", ".join(map(repr, saved))
            raise CorpusError(f"{_name(data)} has no split {data.hf_split!r}, only {found}; set data.hf_split")
        saved = saved[data.hf_split]
    yield from saved


def _folder(data: DataSpec) -> Path:
    assert data.path is not None, "checked by the specification"
    folder = Path(os.path.expanduser(data.path))
    if not folder.is_dir():
        raise CorpusError(
            f"{_name(data)} is no folder (looked for {str(folder.absolute())!r}); give the folder of a data set: one "
            "that `datasets` saved, or one with .parquet, .jsonl or .arrow files"
        )
    return folder


def _content_of(folder: Path) -> str:
    """Hash of the names and contents of a folder's files, hidden ones aside."""
    digest = hashlib.sha256()
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    for path in sorted(paths, key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
        size = path.stat().st_size
        digest.update(f"{len(name)} {size} ".encode() + name)
        for block in blocks(FileText(path, 0, size)):
            digest.update(block)
    return digest.hexdigest()


def _name(data: DataSpec) -> str:
    return f"data.corpus {data.corpus!r}" if data.path is None else f"data.path {data.path!r}"


def _not_loaded(data: DataSpec, error: Exception) -> CorpusError:
    reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if data.hub_name is None:
        return CorpusError(
            f"cannot load {_name(data)} as a data set: {type(error).__name__}: {reason}; check the folder and "
            f"data.hf_split {data.hf_split!r}"
        )
    return CorpusError(
        f"cannot load {_name(data)} from the Hugging Face Hub: {type(error).__name__}: {reason}; check the name "
        "(hf:OWNER/NAME/CONFIG), data.hf_split, data.hf_revision and the network. Without network, give data.corpus "
        "'hf' with the folder of a downloaded copy as data.path"
    )
