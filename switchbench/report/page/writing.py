"""Pages on disk, with their figures beside them for papers and slides."""

from collections.abc import Sequence

from switchbench.errors import ResultsFolderError
from switchbench.report.figures import draw_figures, save_figures
from switchbench.report.page.rendering import IndexEntry, render_index, render_page
from switchbench.report.places import PagePlace, link_between
from switchbench.store import as_utf8, write_atomically


def write_page(place: PagePlace) -> None:
    """Draw the page of a sweep and write it whole or not at all, its figures as SVG, PNG and PDF beside it.

    Args:
        place: The sweep, and where its page lies.

    Raises:
        ResultsFolderError: it cannot be written; says what to do.
    """
    sweep = place.sweep
    try:
        place.figures.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # before anything is drawn
        raise unwritable(place, error) from error
    figures = draw_figures(sweep)
    index_link = None if place.index is None else link_between(place.path, place.index)
    text = render_page(sweep, figures=figures, inputs=place.inputs, index_link=index_link)
    try:
        save_figures(figures, place.figures)
        write_atomically(place.path, as_utf8(text))
    except (OSError, ResultsFolderError) as error:
        raise unwritable(place, error) from error


def write_index(places: Sequence[PagePlace]) -> None:
    """Write the page that lists the sweeps.

    Args:
        places: The sweeps and where their pages lie; all know the same index.

    Raises:
        ResultsFolderError: it cannot be written; says what to do.
    """
    index = places[0].index
    assert index is not None, "several sweeps have an index"
    entries = [IndexEntry(sweep=place.sweep, link=link_between(index, place.path)) for place in places]
    text = render_index(entries, inputs="".join(place.inputs for place in places)[:16])
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(index, as_utf8(text))
    except (OSError, ResultsFolderError) as error:
        raise unwritable(places[0], error) from error


def unwritable(place: PagePlace, error: OSError | ResultsFolderError) -> ResultsFolderError:
    """Say that a page cannot be written, why, and what to do.

    Args:
        place: The page.
        error: Why.
    """
    cause = error if isinstance(error, OSError) else error.__cause__
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
    return ResultsFolderError(
        f"The page {place.path} cannot be written: {reason}. Choose a folder that can be with --output DIR."
    )
