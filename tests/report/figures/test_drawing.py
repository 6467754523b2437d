import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from factories import Study, make_spec, write_study

from switchbench.report import SweepReport
from switchbench.report.figures import Figure, draw_figures, save_figures
from switchbench.report.figures.drawing import draw_figure, sketch_figures
from switchbench.report.figures.evidence import gather_evidence
from switchbench.report.figures.style import DENSE, INK, SPARSE
from tests.report.figures.drawn import REFERENCE, report_of

SVG = "{http://www.w3.org/2000/svg}"


def svgs_of(figures: Sequence[Figure]) -> list[str]:
    return [svg for figure in figures for svg in (figure.svg, figure.narrow_svg) if svg is not None]


def texts_of(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.fixture(scope="module", params=["capacity", "cost_scaling"])
def report(request: pytest.FixtureRequest) -> SweepReport:
    return report_of(REFERENCE, request.param)


@pytest.fixture(scope="module")
def figures(report: SweepReport) -> tuple[Figure, ...]:
    return draw_figures(report)


def test_every_figure_is_drawn_at_both_widths_or_says_what_is_missing(figures: tuple[Figure, ...]):
    assert len({figure.key for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.title
        if figure.missing is None:
            assert figure.svg
            assert figure.narrow_svg
            assert figure.caption
            assert figure.alt
            assert set(figure.drawings) == {"wide", "narrow"}
        else:
            assert (figure.svg, figure.narrow_svg, figure.drawings) == (None, None, {})


def test_svgs_are_elements_with_a_label_and_ids_of_their_own(figures: tuple[Figure, ...]):
    ids: list[str] = []
    for svg in svgs_of(figures):
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert root.get("aria-label") in {figure.alt for figure in figures}
        own = [element.get("id") for element in root.iter() if element.get("id")]
        references = re.findall(r"url\(#([^)]+)\)", svg) + re.findall(r'href="#([^"]+)"', svg)
        assert references
        assert set(references) <= set(own)
        ids += [each for each in own if each is not None]
    assert len(set(ids)) == len(ids)


def test_colors_follow_the_page(figures: tuple[Figure, ...]):
    for svg in svgs_of(figures):
        tags = "".join(re.findall(r"<[^>]*>", svg))
        assert INK not in tags
        assert "currentColor" in tags
        for color, name in ((DENSE, "dense"), (SPARSE, "sparse")):
            assert tags.count(color) == tags.count(f"var(--figure-{name}, {color})")
        assert "fill: #ffffff" not in tags
        assert "DejaVu" not in tags


def test_every_axis_has_a_label(figures: tuple[Figure, ...]):
    for figure in figures:
        for width, drawing in figure.drawings.items():
            svg = figure.svg if width == "wide" else figure.narrow_svg
            assert svg is not None
            for axes in drawing.axes:
                for label in (axes.get_xlabel(), axes.get_ylabel()):
                    assert set(label.split("\n")) - {""} <= set(texts_of(svg))
                assert axes.get_xlabel() or axes.get_ylabel()


def test_the_same_results_give_the_same_text_and_leave_no_settings_behind(
    report: SweepReport, figures: tuple[Figure, ...]
):
    before = dict(matplotlib.rcParams)
    again = [draw_figure(sketch, sweep=report.name) for sketch in sketch_figures(gather_evidence(report))[-3:]]
    assert svgs_of(again)
    assert svgs_of(again) == svgs_of(figures[-3:])
    assert dict(matplotlib.rcParams) == before


def test_a_sweep_without_pairs_says_what_is_missing(tmp_path: Path):
    write_study(tmp_path, [Study(make_spec(num_experts=4), {0: [2.0, 1.8, 1.7]})])
    missing = {figure.key: figure.missing for figure in draw_figures(report_of(tmp_path))}
    assert "dense twin" in (missing["quality"] or "")


def test_figures_on_disk(figures: tuple[Figure, ...], tmp_path: Path):
    some = figures[:1] + tuple(figure for figure in figures if figure.missing is not None)
    paths = save_figures(some, tmp_path / "new")
    assert [path.name for path in paths] == ["quality.svg", "quality.png", "quality.pdf"]
    beginnings = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    for path in paths:
        assert path.read_bytes().startswith(beginnings[path.suffix])
        if path.suffix == ".svg":
            assert "currentColor" not in path.read_text()
            assert "held-out nll (nats/token)" in texts_of(path.read_text())
