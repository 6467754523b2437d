import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from switchbench.report import build_report
from switchbench.report.figures import Figure, draw_figures
from switchbench.report.page import IndexEntry, render_index, render_page
from switchbench.report.page.sections import arrange
from switchbench.report.page.verdict import view_verdict
from tests.factories import Study, make_spec, write_study
from tests.report.page.made_up import CLOSING, HOSTILE, LONG, write_eventful, write_plain, write_single

VOID = {"meta", "link", "br", "img", "hr", "input"}
DRAWN = Figure(
    key="quality",
    title="Quality",
    caption="How to read it.",
    alt="Sparse is better.",
    svg='<svg role="img" aria-label="Sparse is better."></svg>',
    narrow_svg='<svg role="img" aria-label="Sparse is better."></svg>',
    missing=None,
    caveats=("CPU_TIMING",),
)
MISSING = Figure(
    key="frontier", title="Frontier", caption="", alt="", svg=None, narrow_svg=None, missing="Too few <b>."
)


class Reader(HTMLParser):
    """What a browser would make of a page: its elements, and that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read_page(root: Path, *, figures: tuple[Figure, ...] = (), index_link: str | None = None) -> Reader:
    (sweep,) = build_report(root).sweeps
    return Reader(render_page(sweep, figures=figures, inputs="0123456789abcdef", index_link=index_link))


def test_every_number_of_every_table_is_on_the_page(tmp_path: Path) -> None:
    write_plain(tmp_path)
    (sweep,) = build_report(tmp_path).sweeps
    text = read_page(tmp_path).text
    for table in sweep.tables:
        assert table.title in text
        for row in table.rows:
            for cell in row.cells:
                assert cell.text in text
        for note in (*table.notes, *sweep.notes):
            assert " ".join(note.split()) in text
    for run in sweep.runs:
        assert run.run_id in text


def test_the_verdict_comes_first_and_the_expectation_before_the_results(tmp_path: Path) -> None:
    write_plain(tmp_path)
    (sweep,) = build_report(tmp_path).sweeps
    text = read_page(tmp_path).text
    order = [
        view_verdict(sweep).sentence,
        sweep.question,
        "Sixteen experts win.",
        "By <b>much</b>.",
        "neg. log",
        "total",
    ]
    order += ["How to read it", "Provenance", sweep.runs[-1].run_id]
    places = [text.rindex(words) if words in ("How to read it", "Provenance") else text.index(words) for words in order]
    assert places == sorted(places)
    assert "4cae576" in text
    assert "switchbench sweep experiments/capacity.yaml" in text


def test_names_are_escaped_wherever_they_come_from(tmp_path: Path) -> None:
    write_eventful(tmp_path)
    page = read_page(tmp_path)
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for name in (HOSTILE, CLOSING, LONG):
        assert name in page.text


def test_ids_are_unique_and_links_lead_somewhere(tmp_path: Path) -> None:
    write_eventful(tmp_path)
    page = read_page(tmp_path, figures=(DRAWN, MISSING))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [str(attributes["href"]) for attributes in page.all("a")]
    assert len(links) > 30
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= set(ids)
    assert all(link.startswith("#") for link in links)
    named = [attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes]
    assert set(named) <= set(ids)


def test_headings_go_down_one_level_at_a_time(tmp_path: Path) -> None:
    write_eventful(tmp_path)
    levels = [
        int(tag[1])
        for tag, _ in read_page(tmp_path, figures=(DRAWN, MISSING)).elements
        if tag in ("h1", "h2", "h3", "h4")
    ]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_page_loads_nothing_and_runs_its_own_script_alone(tmp_path: Path) -> None:
    write_plain(tmp_path)
    (sweep,) = build_report(tmp_path).sweeps
    text = render_page(sweep, figures=(), inputs="0")
    assert re.findall(r"""(?:src|href)=["'](?!#|data:,)[^"']*""", text) == []
    assert "@import" not in text
    assert "url(" not in text
    script = text[text.index("<script>") + 8 : text.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_figures_are_drawn_or_say_what_is_missing(tmp_path: Path) -> None:
    write_plain(tmp_path)
    page = read_page(tmp_path, figures=(DRAWN, MISSING))
    assert [svg["aria-label"] for svg in page.all("svg")] == ["Sparse is better."] * 2
    assert "How to read it. Timed on a CPU" in page.text
    assert "Too few <b>." in page.text
    assert "Figures" not in read_page(tmp_path).text


def test_figures_stand_with_their_tables_and_are_numbered_where_they_are_drawn(tmp_path: Path) -> None:
    write_plain(tmp_path)
    keys = ("capacity", "quality", "residuals", "new", "frontier")
    figures = [replace(DRAWN if key != "residuals" else MISSING, key=key, title=f"The {key}") for key in keys]
    text = read_page(tmp_path, figures=tuple(figures)).text
    order = [
        "Figures", "Figure 1 The quality", "Figure 2 The new", "Budgets", "Best under a budget",
        "Figure 3 The frontier",
        "Routing health", "Figure 4 The capacity", "Fits", "The residuals Too few",
    ]  # fmt: skip
    places = [text.index(words, text.index("head to head".capitalize()) + 60) for words in order]
    assert places == sorted(places)
    assert "Figure 5" not in text


def test_every_figure_has_a_section_of_its_own_choice(tmp_path: Path) -> None:
    write_single(tmp_path)
    (sweep,) = build_report(tmp_path).sweeps
    figures = draw_figures(sweep)
    sections = {section.id: section.figures for section in arrange(sweep, figures=figures).sections}
    placed = {key: [view.figure.key for view in views] for key, views in sections.items() if views}
    assert sorted(key for keys in placed.values() for key in keys) == sorted(figure.key for figure in figures)
    assert placed["figures"] == ["quality", "parameters", "seeds"]  # so none is there since nobody thought of it
    assert all(view.number is None for views in sections.values() for view in views)


def test_a_sweep_under_way_says_what_is_missing_and_how_to_go_on(tmp_path: Path) -> None:
    write_eventful(tmp_path)
    text = read_page(tmp_path).text
    assert "4 of 9 runs went well 1 diverged 2 failed 2 missing" in text
    assert (
        "This sweep is not complete. What stands here is of the 4 runs that went well so far; 2 are missing and "
        "2 failed . To complete it: switchbench sweep experiments/capacity.yaml" in text
    )
    assert "the last line" in text
    assert "4cae576 (" in text
    assert "another (" in text


def test_a_complete_sweep_says_nothing_of_that(tmp_path: Path) -> None:
    write_plain(tmp_path)
    text = read_page(tmp_path).text
    assert "8 of 8 runs went well" in text
    assert "not complete" not in text
    assert "did not go well" not in text


def test_one_run(tmp_path: Path) -> None:
    write_study(tmp_path, [Study(make_spec(), {0: [1.7]}, step_time_s=None)])
    text = read_page(tmp_path).text
    assert "1 of 1 run went well" in text
    assert "Nothing was written down" in text


def test_fifty_configurations(tmp_path: Path) -> None:
    studies = [Study(make_spec(num_experts=2 + i), {0: [1.7 + i / 1000]}) for i in range(50)]
    write_study(tmp_path, studies)
    page = read_page(tmp_path)
    tables = [int(str(attributes["data-rows"])) for attributes in page.all("table")]
    assert tables[0] == tables[-1] == 50


def test_the_index_leads_to_each_sweep_and_back(tmp_path: Path) -> None:
    for name in ("a <b>", "b"):
        write_plain(tmp_path, name=name)
    sweeps = build_report(tmp_path).sweeps
    page = Reader(render_index([IndexEntry(sweep=s, link=f"{i}/x.html") for i, s in enumerate(sweeps)], inputs="0"))
    assert [attributes["href"] for attributes in page.all("a")] == ["#main", "0/x.html", "1/x.html"]
    assert "2 sweeps" in page.text
    assert "a <b>" in page.text
    told = view_verdict(sweeps[0])
    for words in (told.answer, told.sentence, *told.remarks):
        assert page.text.count(words) == 2
    write_plain(tmp_path / "alone")
    back = read_page(tmp_path / "alone", index_link="../../index.html")
    assert "../../index.html" in [attributes["href"] for attributes in back.all("a")]


@pytest.mark.parametrize("name", ["page.css", "page.js", "report.html.jinja"])
def test_templates_are_in_the_package(name: str) -> None:
    from importlib.resources import files

    assert (files("switchbench.report.page") / "templates" / name).is_file()
