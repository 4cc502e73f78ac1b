"""Renders the templates of the pages. Texts of senders are escaped and made visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jinja2

from tokenledger_exporter.plain_text import counted, visible, visible_lines
from tokenledger_exporter.web.frame import current_frame
from tokenledger_exporter.web.pages import figures, times
from tokenledger_exporter.web.pages.listing import fields_of, path_of
from tokenledger_exporter.web.pages.navigation import NAVIGATION
from tokenledger_exporter.web.pages.view import PRESETS
from tokenledger_exporter.web.static_files import address_of

if TYPE_CHECKING:
    from tokenledger_exporter.web.pages.view import View

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("tokenledger_exporter.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_FILTERS: Final[dict[str, Any]] = {
    "money": figures.money,
    "exact": figures.exact,
    "count": figures.count,
    "abs": abs,
    "cents": figures.cents,
    "compact": figures.compact,
    "figure": figures.figure,
    "plain": figures.plain,
    "title_of": figures.title_of,
    "change": figures.change,
    "visible": visible,
    "visible_lines": visible_lines,
    "took": times.took,
    "price": figures.price,
}
_TEMPLATES.filters.update(_FILTERS)
_GLOBALS: Final[dict[str, Any]] = _TEMPLATES.globals
_GLOBALS.update(
    share=figures.share,
    segments=figures.segments,
    frame=current_frame,
    percent_change=figures.percent_change,
    counted=counted,
    local=times.local,
    path_of=path_of,
    fields_of=fields_of,
    presets=PRESETS,
    navigation=NAVIGATION,
    static=address_of,
    blank="(none)",
    view=None,
)


def html(template: str, entry: str, view: View | None = None, **values: object) -> str:
    """The text of a page.

    Args:
        template: name of its template, without the ending.
        entry: name of the navigation's entry that is marked; "" for none.
        view: the period and filters that its links carry along.
        values: what the template shows.
    """
    if view is not None:
        values["view"] = view
    return _TEMPLATES.get_template(f"{template}.html").render(entry=entry, **values)
