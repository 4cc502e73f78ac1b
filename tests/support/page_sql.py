"""The SQL that a page shows, and what it gives when it is run."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

from support.page_reader import PageReader

if TYPE_CHECKING:
    from support.dashboard import Dashboard


def page_with_answers(
    dashboard: Dashboard, path: str, database_url: str
) -> tuple[PageReader, list[list[dict[str, Any]]]]:
    """A page, and the rows of each statement that is shown on it."""
    response = dashboard.get(path)
    assert response.status == 200, response.body
    body = response.body.decode()
    statements = [
        html.unescape(text)
        for text in re.findall(r'<pre[^>]*="SQL,[^>]*>(.*?)</pre>', body, re.DOTALL)
    ]
    assert statements
    with psycopg.connect(database_url) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        answers = [cursor.execute(each.encode()).fetchall() for each in statements]
    return PageReader(body), answers
