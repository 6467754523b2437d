"""The files of a corpus: one function per corpus lists them. Names are relative and in ascending order."""

import glob
import os
import stat
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from switchbench.data.rows import ROW_SUFFIXES, is_compressed, is_rows, plain_suffix, unpacked
from switchbench.data.texts import FileText, Text
from switchbench.errors import CorpusError

STDLIB_SUFFIXES = frozenset({".py", ".txt", ".rst", ".md"})
"""Source and documentation of the standard library."""

_PROSE = ".txt .text .md .markdown .rst .org .adoc .tex .html .htm .xhtml"
_SOURCE = (
    ".py .pyi .pyx .c .h .cc .cpp .cxx .hh .hpp .cu .cuh .m .mm .cs .java .kt .scala .go .rs .swift .zig "
    ".js .mjs .jsx .ts .tsx .vue .css .rb .php .pl .pm .lua .r .jl .sh .bash .zsh .ps1 .sql .vim .cmake "
    ".hs .ml .mli .fs .ex .exs .erl .clj .el .lisp .scm .rkt .lean .v .f .f90 .f95 .pas .ada .adb .s .asm "
    ".d .dart .nim .tcl .proto"
)
TEXT_SUFFIXES = frozenset([*_PROSE.split(), *_SOURCE.split(), *ROW_SUFFIXES])
"""Suffixes, in lower case, that are read when a folder is given, compressed or not: prose, markup and source, and rows
with a column of text; not other data (.json, .csv)."""

_NOT_STDLIB = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"})
_GENERATED = frozenset(
    {
        *("encodings", "pydoc_data", "html/entities.py", "re/_casefix.py", "stringprep.py", "_opcode_metadata.py"),
        *("keyword.py", "token.py", "__hello__.py", "__phello__"),
    }
)
_OF_THE_MACHINE = ("config-", "_sysconfigdata", "sitecustomize.", "usercustomize.")

_WHOLE_BYTES = 2**24
"""Files of up to this size are read whole."""

_SNIFFED_BYTES = 8192  # git, too, calls a file binary when its first bytes hold a zero


@dataclass(frozen=True, kw_only=True)
class Document:
    """One file of a corpus."""

    name: str
    """Path relative to the corpus, with forward slashes."""
    path: Path
    """Where the file is."""
    size: int
    """Bytes, at least 1."""
    mtime_ns: int
    """Time of the last change: only to notice one."""

    @property
    def is_rows(self) -> bool:
        """Whether it is a file of rows, each of them a document."""
        return is_rows(self.name)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a corpus, and what was left out."""

    where: str
    """The corpus in words, for messages."""
    documents: tuple[Document, ...]
    """The files, in ascending order of their names; none is empty."""
    skipped: str = ""
    """What was found but not taken, in words; empty where nothing was."""

    @property
    def num_bytes(self) -> int:
        """Bytes of text."""
        return sum(document.size for document in self.documents)

    @property
    def has_rows(self) -> bool:
        """Whether there is a file of rows among them."""
        return any(document.is_rows for document in self.documents)

    @property
    def is_packed(self) -> bool:
        """Whether the size of the text differs from that of the files."""
        return self.has_rows or any(is_compressed(document.name) for document in self.documents)


def list_python_stdlib() -> Listing:
    """List the source and documentation text of the running interpreter's standard library, some ten megabytes.

    Left out: installed packages, tests, generated tables, and what belongs to the machine rather than to Python.

    Raises:
        CorpusError: the interpreter came without its library's source.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    where = f"the standard library at {str(root)!r}"
    documents = [
        document
        for name in _walk(root, enter=lambda folder: folder not in _NOT_STDLIB)
        if _is_stdlib_text(name) and (document := _document(root, name)) is not None and document.size > 0
    ]
    if not documents:
        raise CorpusError(
            f"{where} holds no source files, as in some embedded Pythons; "
            "use a Python with its sources, or data.corpus 'text' with data.path"
        )
    return Listing(where=where, documents=_in_order(documents))


def list_text(path: str) -> Listing:
    """List the files of a user's text: one file, the text files in a folder and below it, or what a glob matches.

    In a folder, hidden files and other suffixes than ``TEXT_SUFFIXES`` are skipped; a glob takes every suffix. Binary
    and empty files are skipped in both. Links are followed.

    Args:
        path: The file, folder or glob; a leading ``~`` is the home folder.

    Raises:
        CorpusError: there is no such file or folder, no match, no text in it, or a file cannot be read.
    """
    given = Path(os.path.expanduser(path))
    mode = _file_mode(given)
    where = f"data.path {path!r}"
    skipped: Counter[str] = Counter()
    names: Iterable[str]
    if mode is not None and stat.S_ISDIR(mode):
        root, names = given, _text_names(given, skipped)
        advice = "give a folder with text files, or a glob such as '" + path.rstrip("/") + "/**/*' to take every suffix"
    elif mode is not None:
        root, names = given.parent, [given.name]
        advice = "give a text file, in UTF-8 or another encoding without zero bytes"
    elif glob.has_magic(path):
        root, names = _match(str(given))
        advice = "check the pattern; '**' stands for any folders, as in 'books/**/*.txt'"
    else:
        raise CorpusError(
            f"{where} does not exist (looked for {str(given.absolute())!r}); "
            "give an existing file or folder, or a glob such as 'books/**/*.txt'"
        )
    documents = []
    for name in names:
        document = _document(root, name)
        if document is None:
            continue
        kind = _sniff(document)
        if kind == "text":
            documents.append(document)
        else:
            skipped[kind] += 1
    found = _in_words(skipped)
    if not documents:
        raise CorpusError(f"{where} has no text in it: " + (f"only {found}" if found else "no files") + f"; {advice}")
    return Listing(where=where, documents=_in_order(documents), skipped=found)


def read_document(document: Document) -> bytes:
    """Read a file of a corpus.

    Raises:
        CorpusError: it cannot be read, or has changed since it was listed.
    """
    try:
        content = document.path.read_bytes()
    except OSError as error:
        raise _unreadable(document.path, error) from error
    if len(content) != document.size:
        raise _changed(document, len(content))
    return content


def text_of(document: Document) -> Text:
    """Open a file of a corpus as text: small ones are read, large ones piece by piece when they are looked at.

    Raises:
        CorpusError: it cannot be read, or has changed since it was listed.
    """
    if document.size <= _WHOLE_BYTES:
        return read_document(document)
    if _file_size(document.path) != document.size:
        raise _changed(document, _file_size(document.path))
    return FileText(document.path, 0, document.size)


def unpack_documents(documents: Iterable[Document], *, folder: Path) -> tuple[Document, ...]:
    """Unpack the compressed files of a corpus that are not made of rows; the others stay where they are.

    Args:
        documents: The files.
        folder: Takes the unpacked ones.

    Raises:
        CorpusError: a file is damaged or cannot be read.
        OSError: the folder cannot be written.
    """
    plain = []
    for number, document in enumerate(documents):
        if is_compressed(document.name) and not document.is_rows:
            path = folder / f"{number}.unpacked"
            with path.open("wb") as file:
                for block in unpacked(document.path):
                    file.write(block)
            document = replace(document, path=path, size=path.stat().st_size)
        plain.append(document)
    return tuple(plain)


def _is_stdlib_text(name: str) -> bool:
    parts = name.split("/")
    return (
        os.path.splitext(name)[1] in STDLIB_SUFFIXES
        and _GENERATED.isdisjoint({name, parts[0]})
        and not any(part.startswith(_OF_THE_MACHINE) for part in parts)
    )


def _text_names(root: Path, skipped: Counter[str]) -> Iterator[str]:
    def enter(folder: str) -> bool:
        skipped["hidden"] += folder.startswith(".")
        return not folder.startswith(".")

    for name in _walk(root, enter=enter):
        suffix = os.path.splitext(name)[1].lower()
        if os.path.basename(name).startswith("."):
            skipped["hidden"] += 1
        elif plain_suffix(name) in TEXT_SUFFIXES:
            yield name
        else:
            skipped[suffix or "none"] += 1


def _match(pattern: str) -> tuple[Path, list[str]]:
    """Names that a glob matches, relative to the folder before its first wildcard."""
    parts = Path(pattern).parts
    plain = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:plain])
    matches = glob.glob(str(Path(*parts[plain:])), root_dir=root, recursive=True)
    return root, sorted({Path(match).as_posix() for match in matches})


def _walk(root: Path, *, enter: Callable[[str], bool]) -> Iterator[str]:
    """Names of all files below a folder; links are followed, no folder is entered twice."""
    entered = set()

    def fail(error: OSError) -> None:
        raise _unreadable(Path(error.filename or root), error) from error

    for folder, folders, files in os.walk(root, onerror=fail, followlinks=True):
        facts = os.stat(folder)
        if (facts.st_dev, facts.st_ino) in entered:
            folders.clear()
            continue
        entered.add((facts.st_dev, facts.st_ino))
        folders[:] = sorted(name for name in folders if enter(name))
        base = os.path.relpath(folder, root)
        for name in sorted(files):
            yield name if base == os.curdir else Path(base, name).as_posix()


def _document(root: Path, name: str) -> Document | None:
    """What the file system says of a file; None for what is no regular file, such as a link that leads nowhere."""
    path = root / name
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(facts.st_mode):
        return None
    return Document(name=name, path=path, size=facts.st_size, mtime_ns=facts.st_mtime_ns)


def _file_mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"data.path {str(path)!r} has letters that file names cannot have in this environment, whose encoding is "
            f"{error.encoding}; set PYTHONUTF8=1, or LC_ALL to a locale of UTF-8 such as C.UTF-8"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _sniff(document: Document) -> str:
    try:
        with document.path.open("rb") as file:
            beginning = file.read(_SNIFFED_BYTES)
    except OSError as error:
        raise _unreadable(document.path, error) from error
    if document.size == 0:
        return "empty"
    if is_rows(document.name):  # read by its own rules, which say what is wrong
        return "text"
    if is_compressed(document.name):
        beginning = next(unpacked(document.path), b"")[:_SNIFFED_BYTES]
        if not beginning:
            return "empty"
    return "binary" if b"\0" in beginning else "text"


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _in_order(documents: Iterable[Document]) -> tuple[Document, ...]:
    return tuple(sorted(documents, key=lambda document: document.name))


def _in_words(skipped: Counter[str]) -> str:
    """For example ``3 with other suffixes (.pdf, .png), 1 binary (zero bytes in it)``."""
    rest = Counter(skipped)
    named = {
        "hidden": "hidden",
        "binary": "binary (zero bytes in it; UTF-16 text has them too)",
        "empty": "empty",
        "none": "without a suffix",
    }
    phrases = [f"{count} {words}" for key, words in named.items() if (count := rest.pop(key, 0))]
    if rest:
        kinds = ", ".join(sorted(rest)[:8]) + (", ..." if len(rest) > 8 else "")
        phrases.insert(0, f"{rest.total()} with other suffixes ({kinds})")
    return ", ".join(phrases)


def _changed(document: Document, size: int) -> CorpusError:
    return CorpusError(
        f"{str(document.path)!r} changed while it was read, from {document.size} bytes to {size}; "
        "start again when the text is complete"
    )


def _unreadable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(
        f"cannot read {str(path)!r}: {error.strerror or error}; "
        "make it readable, or leave it out with a glob in data.path"
    )
