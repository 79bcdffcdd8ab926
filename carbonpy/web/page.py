"""The page at /: which metrics there are, level by level, and how to ask for them.

The law: everything that comes from names or from the client is escaped; no script, nothing is
loaded from elsewhere; links are relative, so the page works below any prefix.
"""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from carbonpy import __version__
from carbonpy.errors import QueryError
from carbonpy.web.answer import UNCACHED, Answer, Query
from carbonpy.web.find import Finder
from carbonpy.web.limits import Budget

#: Nodes shown at most.
MOST = 500

HEADERS = (
    *UNCACHED,
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
)

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>carbonpy</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em; }}
code, input {{ font-family: monospace; font-size: 1em; }} ul {{ list-style: none; padding: 0; }}
li small {{ margin-left: 1em; }} .error {{ color: #a00; }}
</style></head><body>
<h1>carbonpy {version}</h1>
<form action=""><label>Metrics that match <input name="query" value="{query}" size="40"></label>
<button>Find</button></form>
{result}
<h2>Ask for data</h2>
<p>A target is a metric or a pattern (<code>*</code>, <code>?</code>, <code>[a-z]</code>, <code>{{a,b}}</code>),
times are words such as <code>-1h</code> or seconds since 1970:</p>
<ul>
<li><a href="render?target={target}&amp;from=-1h&amp;format=json">
<code>/render?target={shown}&amp;from=-1h&amp;format=json</code></a></li>
<li><a href="render?target={target}&amp;from=-1h&amp;format=csv">
<code>/render?target={shown}&amp;from=-1h&amp;format=csv</code></a></li>
<li><a href="metrics/find?query={target}"><code>/metrics/find?query={shown}</code></a></li>
</ul>
<p>How this server is doing: <a href="health"><code>/health</code></a>, <a href="metrics"><code>/metrics</code></a>.</p>
</body></html>
"""


class Page:
    """Answers /.  Safe from any thread if the store is."""

    def __init__(self, store: Finder) -> None:
        self._store = store

    def __call__(self, query: Query, budget: Budget) -> Answer:
        pattern = query.parameters.last("query") or "*"
        try:
            nodes = sorted({(node.path, node.is_leaf) for node in self._store.find(pattern)})
            result = _listed(nodes)
        except QueryError as error:
            result = f'<p class="error">{escape(str(error))}</p>'
        body = _PAGE.format(
            version=escape(__version__),
            query=escape(pattern),
            result=result,
            target=escape(quote(pattern, safe="")),
            shown=escape(pattern),
        )
        return Answer([body.encode("utf-8", "replace")], "text/html; charset=utf-8", headers=HEADERS)


def _listed(nodes: list[tuple[str, bool]]) -> str:
    if not nodes:
        return "<p>No metric matches. New metrics appear as soon as their first point has arrived.</p>"
    rows = []
    for path, is_leaf in nodes[:MOST]:
        shown, linked = escape(path), escape(quote(path, safe=""))
        if is_leaf:
            link = f"render?target={linked}&amp;from=-1h&amp;format="
            rows.append(f'<li>{shown} <small><a href="{link}json">json</a> <a href="{link}csv">csv</a></small></li>')
        else:
            rows.append(f'<li><a href="?query={linked}.*">{shown}.</a></li>')
    more = f"<p>and {len(nodes) - MOST} more</p>" if len(nodes) > MOST else ""
    return f"<ul>{''.join(rows)}</ul>{more}"
