"""A drawing as an SVG element for a page: colors that follow the page's, text that stays text, ids of its own."""

import html
import io
import re

from matplotlib.figure import Figure

from switchbench.report.figures.style import DENSE, INK, MOST_SHADES, SPARSE, ink_shares, mixed

FONTS = "system-ui, -apple-system, &quot;Segoe UI&quot;, Roboto, &quot;Helvetica Neue&quot;, Arial, sans-serif"
"""What a reader's machine has for text on screens."""
_SPARSE_CSS = f"var(--figure-sparse, {SPARSE})"
_PAGE_COLORS = {
    mixed(SPARSE, ink=ink): f"color-mix(in srgb, {_SPARSE_CSS}, currentColor {100 * ink:.4g}%)"
    for number in range(2, MOST_SHADES + 1)
    for ink in ink_shares(number)
} | {INK: "currentColor", DENSE: f"var(--figure-dense, {DENSE})", SPARSE: _SPARSE_CSS}
_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_HEX = re.compile(r"#[0-9a-f]{6}\b")
_OPENING = re.compile(r"<svg\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")
_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def to_svg(drawing: Figure, *, prefix: str, label: str) -> str:
    """Write a drawing as one ``<svg>`` element that can stand in a page beside others.

    Its size is that of the drawing at most, and that of its container where it is narrower. Colors become
    ``currentColor`` and CSS variables, see ``Figure``; the same drawing gives the same text in each run.

    Args:
        drawing: The drawing, within ``figure_style``.
        prefix: What all its ids begin with.
        label: What it says to those who do not see it.
    """
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata=_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _TAG.sub(lambda tag: _adapted(tag[0], prefix=prefix), text)
    box = _VIEW_BOX.search(text)
    assert box is not None, "matplotlib writes a view box"
    width, height = (float(side) * 96 / 72 for side in box.groups())
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} '
        f'width="{width:.0f}" height="{height:.0f}" style="max-width: 100%; height: auto" role="img" '
        f'aria-label="{html.escape(label)}">'
    )
    return _OPENING.sub(lambda _: opening, text, count=1)


def _adapted(tag: str, *, prefix: str) -> str:
    """One tag with ids, colors and fonts as a page needs them; the text between tags, such as names, stays as it is."""
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', tag)
    tag = re.sub(r'\bhref="#([^"]+)"', rf'href="#{prefix}-\1"', tag)
    tag = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", tag)
    tag = re.sub(r"(font-family:|font: [^;\"]*?px) [^;\"]*", rf"\1 {FONTS}", tag)  # matplotlib 3.11, and before
    return _HEX.sub(lambda color: _PAGE_COLORS.get(color[0], color[0]), tag)
