"""The report's page in a real browser: at any size, in both color schemes, on paper and without a script."""

import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# What a reader with weak eyes needs (WCAG 2.1, 1.4.3): the contrast of every text with what lies behind it.
CONTRASTS = """() => {
  const channels = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { rgb, a } = channels(getComputedStyle(at).backgroundColor);
      if (a > 0.99) return rgb;
    }
    return [255, 255, 255];
  };
  const found = [];
  // Computed colors may be written as color(srgb 0.5 0.5 0.5); a canvas gives all of them as bytes.
  const paint = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const bytes = (color) => {
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  for (const element of document.querySelectorAll("body *:not(script)")) {
    const words = [...element.childNodes].filter((n) => n.nodeType === 3 && n.textContent.trim());
    if (!words.length || !element.getClientRects().length) continue;
    const isDrawn = element.closest("svg") !== null;
    if (isDrawn && element.tagName !== "text") continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(isDrawn ? bytes(style.fill) : channels(style.color).rgb), luminance(behind(element))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), words[0].textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("name", ["plain", "eventful", "index"])
def test_no_size_or_scheme_overflows_complains_or_asks_for_anything(
    visit: Any, pages: Any, name: str, width: int, scheme: str
) -> None:
    seen = visit(getattr(pages, name), width=width, color_scheme=scheme)
    seen.page.wait_for_load_state("networkidle")
    assert seen.page.evaluate(OVERFLOW) <= 0
    assert seen.page.evaluate("document.body.innerText.length") > 100
    assert (seen.messages, seen.requests) == ([], [])


def test_the_two_schemes_differ_and_both_can_be_read(visit: Any, pages: Any) -> None:
    backgrounds = set()
    for scheme in ("light", "dark"):
        page = visit(pages.eventful, color_scheme=scheme).page
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 200
        assert any(words == "held-out nll (nats/token)" for _, words in contrasts)  # in a figure
        worst = min(contrasts)
        assert worst[0] >= 4.5, f"{scheme}: {worst}"
    assert len(backgrounds) == 2


def column(page: Any, table: str, name: str) -> list[str]:
    """The texts of a column, from above, of the rows that are shown."""
    texts: list[str] = page.evaluate(
        """([table, name]) => {
          const grid = document.querySelector(`#table-${table} table`);
          const heads = [...grid.tHead.rows[0].cells];
          const i = heads.findIndex((head) => head.dataset.name === name);
          const rows = [...grid.querySelectorAll("tbody tr")].filter((row) => row.checkVisibility());
          return rows.map((row) => row.cells[i].firstChild.textContent.trim());
        }""",
        [table, name],
    )
    return texts


def test_a_table_sorts_by_mouse_up_down_and_back(visit: Any, pages: Any) -> None:
    page = visit(pages.plain).page
    original = column(page, "head_to_head", "perplexity")
    numbers = sorted(original, key=float)
    assert original not in (numbers, numbers[::-1])
    head = page.locator("#table-head_to_head th[data-name='perplexity']")
    assert head.get_attribute("aria-sort") == "none"
    for order, expected in (("ascending", numbers), ("descending", numbers[::-1]), ("none", original)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        assert column(page, "head_to_head", "perplexity") == expected
    assert column(page, "head_to_head", "experts") == ["–", "4", "16", "16"]


def test_unknown_values_come_last_in_either_order(visit: Any, pages: Any) -> None:
    page = visit(pages.plain).page
    button = page.locator("#table-head_to_head th[data-name='experts'] button")
    button.click()
    assert column(page, "head_to_head", "experts") == ["4", "16", "16", "–"]
    button.click()
    assert column(page, "head_to_head", "experts") == ["16", "16", "4", "–"]


def test_a_table_sorts_by_keyboard_and_says_so(visit: Any, pages: Any) -> None:
    page = visit(pages.plain).page
    head = page.locator("#table-runs th[data-name='nll']")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    found = column(page, "runs", "nll")
    assert found == sorted(found, key=float)
    assert len(found) == 8
    assert page.locator("#table-runs [role=status]").inner_text() == "Sorted by nll, ascending."
    page.keyboard.press("Space")
    assert column(page, "runs", "nll") == found[::-1]
    other = page.locator("#table-runs th[data-name='seed']")
    other.locator("button").press("Enter")
    assert (head.get_attribute("aria-sort"), other.get_attribute("aria-sort")) == ("none", "ascending")


def test_a_table_is_filtered_by_words_and_says_how_many_rows_are_left(visit: Any, pages: Any) -> None:
    page = visit(pages.plain).page
    before = column(page, "runs", "run")
    box = page.get_by_role("searchbox", name="Filter the rows of Every run")
    box.focus()
    page.keyboard.type("16 EXPERTS 1.25")
    assert column(page, "runs", "configuration") == ["16 experts, capacity factor 1.25"] * 2
    assert page.locator("#table-runs [role=status]").inner_text() == "2 of 8 rows"
    box.fill("no such run")
    assert column(page, "runs", "run") == []
    box.fill("")
    assert column(page, "runs", "run") == before


def test_footnotes_link_there_and_back(visit: Any, pages: Any) -> None:
    page = visit(pages.plain).page
    mark = page.locator("#table-head_to_head .marks a").first
    mark_id = mark.get_attribute("id")
    mark.focus()
    page.keyboard.press("Enter")
    note = page.locator(":target")
    assert "CPU" in note.inner_text() or "seed" in note.inner_text()
    note.locator(".back").first.click()
    assert page.locator(":target").get_attribute("id") == mark_id


def test_links_lead_to_what_is_there(visit: Any, pages: Any) -> None:
    for path in (pages.plain, pages.eventful):
        page = visit(path).page
        lost = page.evaluate(
            "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1))"
            ".filter(id => !document.getElementById(id))"
        )
        assert lost == []
        (beyond,) = page.evaluate("[...document.querySelectorAll('a:not([href^=\"#\"])')].map(a => a.href)")
        assert beyond == pages.index.as_uri()


def test_what_a_browser_mends_is_not_there(visit: Any, pages: Any) -> None:
    """Invalid HTML is moved or closed by the browser: then its tree has other elements than the text has tags."""
    text = pages.plain.read_text(encoding="utf-8")
    page = visit(pages.plain, java_script_enabled=False).page
    for name in ("p", "li", "tr", "td", "th", "tbody", "figure", "figcaption", "section", "dl", "dd", "span", "div"):
        assert page.locator(name).count() == len(re.findall(rf"<{name}[\s>]", text)) > 0, name


def test_the_focus_goes_down_the_page(visit: Any, pages: Any) -> None:
    page = visit(pages.plain).page
    page.wait_for_function("document.querySelectorAll('.scroll:not([tabindex])').length > 0")
    order = page.evaluate(
        """() => {
          const reached = [...document.querySelectorAll("a[href], button, input, summary, [tabindex]")];
          return [reached.length, reached.filter((element) => element.tabIndex > 0).length];
        }"""
    )
    assert order[0] > 40
    assert order[1] == 0  # so the order is that of the page


def test_wide_tables_fit_a_wide_page(visit: Any, pages: Any) -> None:
    page = visit(pages.plain, width=1600).page
    box = page.locator("#table-head_to_head .scroll")
    assert page.locator("#table-head_to_head table.many .doubt").first.is_visible()
    assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0


def test_a_long_table_scrolls_below_its_heads_and_is_whole_on_paper(visit: Any, pages: Any) -> None:
    page = visit(pages.large).page
    box, head = (page.locator(f"#table-head_to_head {part}") for part in (".scroll", "thead th >> nth=1"))
    assert box.evaluate("box => box.scrollHeight > box.clientHeight")
    before = head.bounding_box()["y"]
    box.evaluate("box => { box.scrollTop = 500 }")
    assert head.bounding_box()["y"] == pytest.approx(before, abs=2)
    page.emulate_media(media="print")
    assert box.evaluate("box => box.scrollHeight <= box.clientHeight + 1")


@pytest.mark.parametrize(("width", "stands"), [(1600, "beside"), (1000, "below")])
def test_captions_stand_beside_their_figure_where_there_is_room(
    visit: Any, pages: Any, width: int, stands: str
) -> None:
    figure = visit(pages.plain, width=width).page.locator("#figure-quality")
    picture, caption = (figure.locator(part).bounding_box() for part in (".picture", "figcaption"))
    if stands == "beside":
        assert caption["x"] >= picture["x"] + picture["width"]
    else:
        assert caption["y"] >= picture["y"] + picture["height"]


def test_the_keyboard_reaches_the_answer_first_and_sees_where_it_is(visit: Any, pages: Any) -> None:
    page = visit(pages.plain).page
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the answer"
    assert focused.bounding_box()["y"] >= 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_everything_has_a_name_for_those_who_do_not_see_it(visit: Any, pages: Any) -> None:
    page = visit(pages.plain).page
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    for table in page.get_by_role("table").all():
        assert table.locator("caption").inner_text().strip()
        assert table.locator("thead th:not([scope=col])").count() == 0
        assert table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count()
    drawn = [svg for svg in page.locator("figure svg").all() if svg.is_visible()]
    assert drawn
    for svg in drawn:
        assert svg.get_attribute("role") == "img"
        assert len(svg.get_attribute("aria-label")) > 20
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("width", [400, 1600])
def test_without_a_script_everything_is_there(visit: Any, pages: Any, width: int) -> None:
    seen = visit(pages.plain, width=width, java_script_enabled=False)
    scripted = visit(pages.plain, width=width).page
    assert seen.page.locator("thead button").count() == seen.page.locator("input").count() == 0
    for selector in ("tbody tr", "figure", ".footnotes li", "dl div", "details"):
        assert seen.page.locator(selector).count() == scripted.locator(selector).count() > 0
    seen.page.locator("summary").first.click()
    assert seen.page.locator("dl.settings").first.is_visible()


def test_a_narrow_page_keeps_the_rows_apart_and_draws_panels_below_each_other(visit: Any, pages: Any) -> None:
    page = visit(pages.plain, width=400).page
    assert page.locator("#table-head_to_head td.label").first.is_hidden()
    assert page.locator("#table-head_to_head .also").last.inner_text() == "experts 16, capacity factor 2"
    box = page.locator("#head-to-head .scroll").first
    head = box.locator("tbody th").first
    before = head.bounding_box()["x"]
    box.evaluate("box => { box.scrollLeft = 300 }")
    assert head.bounding_box()["x"] == pytest.approx(before, abs=1)
    assert page.locator(".picture .narrow").first.is_visible()
    assert page.locator(".picture .wide").first.is_hidden()
    wide = visit(pages.plain, width=1600).page
    assert wide.locator(".picture .wide").first.is_visible()
    assert wide.locator("#table-head_to_head .also").first.is_hidden()


def test_only_what_scrolls_takes_the_focus(visit: Any, pages: Any) -> None:
    page = visit(pages.plain, width=400).page
    page.wait_for_function("document.querySelectorAll('.scroll:not([tabindex])').length < 100")
    states = page.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(
          [...document.querySelectorAll(".scroll")].map((b) => [b.scrollWidth > b.clientWidth, b.tabIndex === 0])
        ), 100)))"""
    )
    assert len(states) > 4
    assert all(scrolls == reached for scrolls, reached in states)


def test_paper_has_everything_in_black_on_white(visit: Any, pages: Any) -> None:
    page = visit(pages.eventful, color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert page.locator(".filter").first.is_hidden()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.get_by_text("the last line").is_visible()
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every(b => getComputedStyle(b).overflowX === 'visible')"
    )
    assert len(page.pdf()) > 10_000


def test_hostile_names_are_words(visit: Any, pages: Any) -> None:
    seen = visit(pages.eventful)
    assert seen.page.title().startswith("<script>alert(1)")
    assert seen.page.locator("script").count() == 1
    assert seen.page.locator("img").count() == 0
    assert seen.page.locator("h1").inner_text().startswith("<script>alert(1)<img src=x")
    assert seen.messages == []


def test_the_index_leads_to_the_pages(visit: Any, pages: Any) -> None:
    page = visit(pages.index).page
    assert page.get_by_role("article").count() == 3
    assert page.get_by_role("link", name="capacity").get_attribute("href") == "capacity/report/report.html"
    targets = page.evaluate("[...document.querySelectorAll('article a')].map(link => link.href)")
    assert set(targets) == {pages.plain.as_uri(), pages.eventful.as_uri(), pages.large.as_uri()}
