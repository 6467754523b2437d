"""Which files are the text: the standard library's, and a user's file, folder or glob."""

import os
import sysconfig
from pathlib import Path

import pytest

from switchbench.data.files import Listing, list_python_stdlib, list_text, read_document
from switchbench.errors import CorpusError


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def names(listing: Listing) -> list[str]:
    return [document.name for document in listing.documents]


def test_the_standard_library_is_some_ten_megabytes_of_text_in_order():
    listing = list_python_stdlib()
    found = names(listing)
    assert 5e6 < listing.num_bytes < 2e7
    assert found == sorted(found)
    assert {"argparse.py", "asyncio/base_events.py", "email/message.py"} <= set(found)
    parts = {part for name in found for part in name.split("/")}
    assert not parts & {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "encodings"}
    assert {Path(name).suffix for name in found} <= {".py", ".txt", ".rst", ".md"}
    for document in listing.documents[:: len(found) // 20]:
        assert read_document(document) == Path(sysconfig.get_paths()["stdlib"], document.name).read_bytes()


def test_a_distributions_own_layout_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # As on Debian: packages beside the library, links out of the tree to the machine's settings, parts left out.
    root = write(
        tmp_path / "lib" / "python3",
        {
            **{
                name: b"text" for name in ("os.py", "json/decoder.py", "LICENSE.txt", "email/notes.rst", "B.py", "a.py")
            },
            **{name: b"no" for name in ("dist-packages/six.py", "site-packages/README.txt", "test/test_os.py")},
            **{name: b"no" for name in ("lib2to3/tests/x.py", "idlelib/idle_test/x.py", "json/__pycache__/x.py")},
            **{name: b"no" for name in ("encodings/cp1.py", "pydoc_data/topics.py", "html/entities.py")},
            **{
                name: b"no" for name in ("config-3.11-x86/install.py", "_sysconfigdata__linux_.py", "data.json", "x.so")
            },
            "empty/__init__.py": b"",
        },
    )
    (write(tmp_path / "etc", {"custom.py": b"no"}) / "custom.py").replace(tmp_path / "etc" / "sitecustomize.py")
    (root / "sitecustomize.py").symlink_to(tmp_path / "etc" / "sitecustomize.py")
    (root / "gone.py").symlink_to(tmp_path / "etc" / "gone.py")
    (root / "json" / "loop").symlink_to(root)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(root)})
    assert names(list_python_stdlib()) == ["B.py", "LICENSE.txt", "a.py", "email/notes.rst", "json/decoder.py", "os.py"]


def test_an_interpreter_without_its_sources_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(write(tmp_path, {"os.pyc": b"\0"}))})
    with pytest.raises(CorpusError, match=r"standard library at .* no source files.*data\.corpus 'text'"):
        list_python_stdlib()


def test_a_folder_gives_its_text_and_says_what_was_skipped(tmp_path: Path):
    root = write(
        tmp_path / "mes textes",
        {
            **{name: b"words" for name in ("b.txt", "a/été à Paris.md", "a/ONE.TXT", "src/x.py")},
            **{name: b"words" for name in (".hidden.txt", ".git/x.txt", "data.json", "a/y.PDF", "noext")},
            "utf16.txt": "words".encode("utf-16"),
            "void.txt": b"",
            "latin1.txt": "déjà".encode("latin-1"),
        },
    )
    listing = list_text(str(root))
    assert names(listing) == ["a/ONE.TXT", "a/été à Paris.md", "b.txt", "latin1.txt", "src/x.py"]
    assert listing.skipped == (
        "2 with other suffixes (.json, .pdf), 2 hidden, "
        "1 binary (zero bytes in it; UTF-16 text has them too), 1 empty, 1 without a suffix"
    )
    assert list_text(str(root) + "/").documents == listing.documents


def test_a_folder_inside_a_hidden_one_is_not_hidden(tmp_path: Path):
    assert names(list_text(str(write(tmp_path / ".local" / "books", {"a.txt": b"x"})))) == ["a.txt"]


def test_links_are_followed_once(tmp_path: Path):
    root = write(tmp_path / "root", {"a.txt": b"x"})
    elsewhere = write(tmp_path / "elsewhere", {"b.txt": b"y"})
    (root / "linked").symlink_to(elsewhere)
    (root / "self").symlink_to(root)
    (root / "dangling.txt").symlink_to(root / "nowhere.txt")
    assert names(list_text(str(root))) == ["a.txt", "linked/b.txt"]


def test_one_file_of_any_suffix(tmp_path: Path):
    assert names(list_text(str(write(tmp_path, {"my words": b"x"}) / "my words"))) == ["my words"]


def test_a_glob_takes_every_suffix_and_names_files_from_its_first_wildcard(tmp_path: Path):
    root = write(
        tmp_path / "x y", {"p/1.txt": b"x", "p/q/2.json": b"x", "p/q/3": b"x", "p/z.bin": b"\0", "o.txt": b"x"}
    )
    listing = list_text(f"{root}/p/**/*")
    assert names(listing) == ["1.txt", "q/2.json", "q/3"]
    assert listing.skipped.startswith("1 binary")
    assert names(list_text(f"{root}/*/*.txt")) == ["p/1.txt"]


def test_a_name_with_wildcards_in_it_is_taken_literally_where_it_exists(tmp_path: Path):
    root = write(tmp_path, {"draft[1].txt": b"x", "draft1.txt": b"y"})
    assert names(list_text(f"{root}/draft[1].txt")) == ["draft[1].txt"]


def test_paths_from_home_and_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, {"texts/a.txt": b"x"})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "texts")
    assert [names(list_text(path)) for path in ("~/texts", "~/texts/*.txt", "*.txt", ".", "a.txt")] == [["a.txt"]] * 5


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nowhere",
            r"data\.path '.*nowhere' does not exist \(looked for '/.*nowhere'\); give an existing file or folder",
        ),
        ("full/a.txt/b.txt", r"does not exist"),
        ("empty", r"data\.path '.*empty' has no text in it: no files; give a folder .*/empty/\*\*/\*'"),
        ("pictures", r"only 2 with other suffixes \(\.jpg, \.png\); .* to take every suffix$"),
        ("pictures/a.png", r"only 1 binary \(zero bytes.*\); give a text file, in UTF-8 or"),
        ("void.txt", r"only 1 empty; give a text file"),
        ("full/*.rst", r"data\.path '.*\*\.rst' has no text in it: no files; check the pattern"),
        ("*/nowhere/*", r"no files; check the pattern"),
        ("f*", r"no files; check the pattern"),  # a folder is matched, and no file
    ],
)
def test_what_is_no_text_is_refused_with_advice(path: str, message: str, tmp_path: Path):
    write(tmp_path, {"full/a.txt": b"x", "pictures/a.png": b"\x89PNG\0", "pictures/b.jpg": b"\0", "void.txt": b""})
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=message):
        list_text(f"{tmp_path}/{path}")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that not even root can read")
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    write(tmp_path, {"good.txt": b"x"})
    (tmp_path / "bad.txt").symlink_to("/proc/self/mem")
    with pytest.raises(
        CorpusError, match=r"cannot read '.*bad\.txt': Input/output error; make it readable, or leave it"
    ):
        list_text(str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("locked", ["locked", "locked/a.txt"])
def test_what_may_not_be_read_is_named(locked: str, tmp_path: Path):
    write(tmp_path, {"locked/a.txt": b"x"})
    (tmp_path / locked).chmod(0)
    try:
        with pytest.raises(CorpusError, match=rf"cannot read '.*{locked}': Permission denied"):
            list_text(str(tmp_path))
    finally:
        (tmp_path / locked).chmod(0o700)


def test_a_file_that_grows_is_noticed(tmp_path: Path):
    (document,) = list_text(str(write(tmp_path, {"a.txt": b"before"}))).documents
    document.path.write_bytes(b"and after")
    with pytest.raises(CorpusError, match=r"a\.txt' changed while it was read, from 6 bytes to 9"):
        read_document(document)
