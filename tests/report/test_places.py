import subprocess
import sys
from pathlib import Path

from switchbench.report import build_report
from switchbench.report.page import write_index, write_page
from switchbench.report.places import PagePlace, places_of
from tests.report.page.made_up import write_plain, write_single


def places(root: Path, *, output: Path | None = None) -> tuple[PagePlace, ...]:
    return places_of(build_report(root), results=root, output=output)


def test_pages_lie_with_their_sweep_or_where_they_are_wanted(tmp_path: Path) -> None:
    write_plain(tmp_path / "one")
    (alone,) = places(tmp_path / "one")
    assert (alone.path, alone.index) == (tmp_path / "one" / "capacity" / "report" / "report.html", None)
    (alone,) = places(tmp_path / "one", output=tmp_path / "out")
    assert alone.path == tmp_path / "out" / "report.html"
    for name in ("a", "b"):
        write_plain(tmp_path / "two", name=name)
    first, second = places(tmp_path / "two")
    assert first.path == tmp_path / "two" / "a" / "report" / "report.html"
    assert first.index == second.index == tmp_path / "two" / "index.html"
    first, second = places(tmp_path / "two", output=tmp_path / "out")
    assert second.path == tmp_path / "out" / "b" / "report.html"
    assert first.index == tmp_path / "out" / "index.html"


def test_a_page_is_up_to_date_until_a_result_changes(tmp_path: Path) -> None:
    folder = write_plain(tmp_path)
    (place,) = places(tmp_path)
    assert not place.is_up_to_date
    write_page(place)
    assert place.is_up_to_date
    assert (place.figures / "seeds.png").is_file()
    assert (place.figures / "seeds.pdf").is_file()
    (place,) = places(tmp_path)
    assert place.is_up_to_date
    next(folder.timings.iterdir()).touch()
    (place,) = places(tmp_path)
    assert not place.is_up_to_date
    place.path.write_text("<p>Something else")
    assert not place.is_up_to_date


def test_pages_and_index_link_each_other(tmp_path: Path) -> None:
    for name in ("a b", "c"):
        write_single(tmp_path, name=name)
    found = places(tmp_path)
    write_index(found)
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="a%20b/report/report.html"' in index
    assert (tmp_path / "a b" / "report" / "../../index.html").resolve() == tmp_path / "index.html"
    write_page(found[0])
    assert 'href="../../index.html"' in found[0].path.read_text(encoding="utf-8")


def test_knowing_where_pages_lie_imports_nothing_slow() -> None:
    code = "import sys, switchbench.report, switchbench.report.places; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "matplotlib", "pandas", "seaborn", "jinja2"} & set(done.stdout.split())
