"""A headless Chromium, and pages for it."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from switchbench.report import build_report
from switchbench.report.page import write_index, write_page
from switchbench.report.places import places_of
from tests.report.page.made_up import write_eventful, write_large, write_plain

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Pages:
    """Pages on disk."""

    plain: Path
    eventful: Path
    large: Path
    index: Path


@dataclass
class Visit:
    """An open page, and what it did that it should not."""

    page: Any
    messages: list[str] = field(default_factory=list)
    """What it wrote to the console, and its errors."""
    requests: list[str] = field(default_factory=list)
    """What it asked for, itself aside."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The browser that is installed; without one the tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api")
    executable = os.environ.get("SWITCHBENCH_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=executable, args=["--no-sandbox"] if is_root else [])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """The pages of a plain sweep and of one with all that a page must withstand."""
    root = tmp_path_factory.mktemp("results")
    write_plain(root)
    write_eventful(root)
    write_large(root)
    places = places_of(build_report(root), results=root)
    for place in places:
        write_page(place)
    write_index(places)
    paths = {place.sweep.name: place.path for place in places}
    (eventful,) = (paths[name] for name in paths if name not in ("capacity", "large"))
    return Pages(plain=paths["capacity"], eventful=eventful, large=paths["large"], index=root / "index.html")


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Open a page, cut off from the network; closed at the end of the test."""
    contexts = []

    def open_page(path: Path, *, width: int = 1280, **options: Any) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        seen = Visit(context.new_page())

        def answer(route: Any) -> None:
            if route.request.url == path.as_uri():
                route.continue_()
                return
            seen.requests.append(route.request.url)
            route.abort()

        context.route("**/*", answer)
        seen.page.on("console", lambda message: seen.messages.append(message.text))
        seen.page.on("pageerror", lambda error: seen.messages.append(str(error)))
        seen.page.on("dialog", lambda dialog: (seen.messages.append(dialog.message), dialog.dismiss()))
        seen.page.goto(path.as_uri())
        return seen

    yield open_page
    for context in contexts:
        context.close()
