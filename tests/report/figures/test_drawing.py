import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from factories import Study, make_spec, write_study
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from switchbench.report import SweepReport
from switchbench.report.figures import Figure, draw_figures, save_figures
from switchbench.report.figures.drawing import draw_figure, sketch_figures
from switchbench.report.figures.evidence import gather_evidence
from switchbench.report.figures.style import DENSE, INK, SPARSE, figure_style, shades
from switchbench.report.figures.svg import to_svg
from tests.report.figures.drawn import REFERENCE, many_studies, outside, report_of

SVG = "{http://www.w3.org/2000/svg}"


def svgs_of(figures: Sequence[Figure]) -> list[str]:
    return [svg for figure in figures for svg in (figure.svg, figure.narrow_svg) if svg is not None]


def texts_of(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


HOSTILE = ('<script>alert("&")</script>', "id=\"a\" & 'b' #1b1b1f", "größe_$x^2$_模型_\\frac", "n" * 200)
"""Names that break what takes them for markup, mathematics, or short."""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SweepReport]:
    root, name = tmp_path_factory.mktemp("hostile"), "größe & <b>"
    write_study(root, many_studies(lambda i: HOSTILE[i], number=4 * len(HOSTILE)), name=name)
    return {"cost_scaling": report_of(REFERENCE, "cost_scaling"), "hostile": report_of(root, name)}


@pytest.fixture(scope="module")
def drawn(reports: dict[str, SweepReport]) -> dict[str, tuple[Figure, ...]]:
    return {name: draw_figures(report) for name, report in reports.items()}


@pytest.fixture(params=["cost_scaling", "hostile"])
def figures(request: pytest.FixtureRequest, drawn: dict[str, tuple[Figure, ...]]) -> tuple[Figure, ...]:
    return drawn[request.param]


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
    reports: dict[str, SweepReport], drawn: dict[str, tuple[Figure, ...]]
):
    before = dict(matplotlib.rcParams)
    evidence = gather_evidence(reports["cost_scaling"])
    again = [draw_figure(sketch, sweep="cost_scaling") for sketch in sketch_figures(evidence)[-3:]]
    assert len(svgs_of(again)) == 6
    assert svgs_of(again) == svgs_of(drawn["cost_scaling"][-3:])
    assert dict(matplotlib.rcParams) == before


def test_hostile_names_stay_text(drawn: dict[str, tuple[Figure, ...]]):
    shown = ""
    for figure in drawn["hostile"]:
        for svg in (figure.svg, figure.narrow_svg):
            if svg is not None:
                root = ElementTree.fromstring(svg)
                assert not [element for element in root.iter() if element.tag.endswith("script")]
                shown += "\n".join("".join(element.itertext()) for element in root.iter())
    for beginning in ('<script>alert("', "id=\"a\" & 'b' #1b", "größe_$x^2$_模型", "nnn"):
        assert beginning in shown
    assert "n" * 100 not in shown


def test_hostile_names_break_no_layout(drawn: dict[str, tuple[Figure, ...]]):
    for figure in drawn["hostile"]:
        for drawing in figure.drawings.values():
            with figure_style(salt="test"):
                FigureCanvasAgg(drawing).draw()
            assert outside(drawing) == [], figure.key


def test_a_sweep_without_pairs_says_what_is_missing(tmp_path: Path):
    write_study(tmp_path, [Study(make_spec(num_experts=4), {0: [2.0, 1.8, 1.7]})])
    missing = {figure.key: figure.missing for figure in draw_figures(report_of(tmp_path))}
    assert "dense twin" in (missing["quality"] or "")


def test_figures_on_disk(drawn: dict[str, tuple[Figure, ...]], tmp_path: Path):
    figures = drawn["cost_scaling"]
    some = figures[:1] + tuple(figure for figure in figures if figure.missing is not None)
    paths = save_figures(some, tmp_path / "new")
    assert [path.name for path in paths] == ["quality.svg", "quality.png", "quality.pdf"]
    beginnings = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    for path in paths:
        assert path.read_bytes().startswith(beginnings[path.suffix])
        if path.suffix == ".svg":
            assert "currentColor" not in path.read_text()
            assert "held-out nll (nats/token)" in texts_of(path.read_text())


@pytest.mark.parametrize("number", [2, 3, 6])
def test_shades_are_told_apart_and_no_fainter_than_their_color(number: int):
    """On white the others are darker than the color; in a page ink is the text's color, light where it is dark."""
    drawn = shades(SPARSE, number)
    assert (len(set(drawn)), drawn[-1]) == (number, SPARSE)
    brightness = [sum(int(color[i : i + 2], 16) for i in (1, 3, 5)) for color in drawn]
    assert brightness == sorted(brightness)
    drawing = Drawing()
    for i, color in enumerate(drawn):
        drawing.text(0.5, i / number, "x", color=color)
    svg = to_svg(drawing, prefix="p", label="l")
    assert svg.count("color-mix(in srgb, var(--figure-sparse, #d55e00), currentColor ") == number - 1
    assert not any(color in svg for color in drawn[:-1])


def test_one_shade_is_the_color_itself():
    assert shades(SPARSE, 1) == [SPARSE]
