"""The index of a rehearsal as one page: it needs no network, and shows data as text alone."""

import json
from collections.abc import Iterable
from html import escape
from typing import Any, Final, TextIO

MOST_ROWS: Final = 100_000
"""More than these a browser does not like; the CSV has them all."""

_HEAD: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Rehearsal of {definition}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --bad: #b3261e; --dim: #777; }}
@media (prefers-color-scheme: dark) {{ :root {{ --bad: #ff8a80; --dim: #999; }} }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 82rem;
 padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; margin: 0 0 .3rem; }}
#warning {{ color: var(--bad); font-weight: 600; }}
pre {{ overflow-x: auto; border-left: 3px solid var(--line); padding-left: .8rem; }}
form {{ display: flex; gap: .6rem; flex-wrap: wrap; margin: 1rem 0; }}
input, select {{ font: inherit; padding: .35rem .5rem; }}
input {{ flex: 1 1 16rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line);
 vertical-align: top; }}
td.right {{ text-align: right; white-space: nowrap; }}
.failed {{ color: var(--bad); }}
.skipped, #shown {{ color: var(--dim); }}
@media print {{ form {{ display: none; }} }}
</style>
</head>
<body>
<h1>Rehearsal of {definition}</h1>
<p id="warning">This rehearsal is not complete: it is still going on, or it was interrupted.</p>
<p id="facts">Nothing was sent. The messages are in the folders beside this page.</p>
<noscript><p>The search wants JavaScript; index.csv has the same rows.</p></noscript>
<script>
const rows = [
"""

_TAIL: Final = """\
];
const told = {told};
</script>
<pre id="comparison" hidden></pre>
<form onsubmit="return false">
<input id="search" type="search" placeholder="Search customer, invoice, address, subject, code"
 aria-label="Search" autofocus>
<select id="state" aria-label="State"><option value="">every state</option>
<option>composed</option><option>failed</option><option>skipped</option></select>
</form>
<p id="shown"></p>
<div class="wide"><table><thead><tr><th>No.</th><th>State</th><th>Customer</th><th>Invoices</th>
<th>Total</th><th>To</th><th>Subject, or why not</th><th>Attached</th><th>Bytes</th></tr></thead>
<tbody id="rows"></tbody></table></div>
<script>
"use strict";
const AT_ONCE = 500, byId = (id) => document.getElementById(id);
if (told.complete) byId("warning").remove();
byId("facts").textContent = told.facts;
if (told.comparison) {{ byId("comparison").textContent = told.comparison;
 byId("comparison").hidden = false; }}
const texts = rows.map((row) => row.join("\\n").toLowerCase());
function cell(line, text, kind) {{
  const made = line.insertCell();
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}}
function show() {{
  const words = byId("search").value.toLowerCase().split(/\\s+/).filter(Boolean);
  const state = byId("state").value, body = byId("rows");
  body.replaceChildren();
  let found = 0;
  rows.forEach((row, place) => {{
    if (state && row[1] !== state) return;
    if (!words.every((word) => texts[place].includes(word))) return;
    if (++found > AT_ONCE) return;
    const line = body.insertRow();
    line.className = row[1];
    const number = cell(line, row[12] ? "" : row[0], "right");
    if (row[12]) {{
      const link = document.createElement("a");
      link.href = row[12].split("/").map(encodeURIComponent).join("/");
      link.textContent = row[0];
      number.append(link);
    }}
    cell(line, row[1]);
    cell(line, row[3] ? row[2] + " " + row[3] : row[2]);
    cell(line, row[4]);
    cell(line, row[5], "right");
    cell(line, row[6]);
    cell(line, row[10] ? (row[10] + " " + (row[11] || "")).trim() : row[7]);
    cell(line, row[8], "right");
    cell(line, row[9] ? Number(row[9]).toLocaleString("en") : "", "right");
  }});
  const cut = found > AT_ONCE ? ", of which the first " + AT_ONCE + " are shown" : "";
  byId("shown").textContent = found.toLocaleString("en") + " of " +
    rows.length.toLocaleString("en") + " rows" + cut + told.left;
}}
byId("search").addEventListener("input", show);
byId("state").addEventListener("change", show);
show();
</script>
</body>
</html>
"""


class Page:
    """Writes the page row by row; until its end is written, it says that it is not complete.

    Args:
        stream: where to.
        definition: what is rehearsed.
    """

    def __init__(self, stream: TextIO, definition: str) -> None:
        self._stream = stream
        self._rows = 0
        stream.write(_HEAD.format(definition=escape(definition)))

    def add(self, rows: Iterable[list[Any]]) -> None:
        """Write rows, their values in the order of the index's columns."""
        for row in rows:
            self._rows += 1
            if self._rows <= MOST_ROWS:
                self._stream.write(_script(row) + ",\n")

    def end(self, facts: str, comparison: str, *, complete: bool) -> None:
        """Write the rest of the page."""
        left = self._rows - MOST_ROWS
        more = f"; {left:,} further ones are in index.csv alone" if left > 0 else ""
        told = {"complete": complete, "facts": facts, "comparison": comparison, "left": more}
        self._stream.write(_TAIL.format(told=_script(told)))


def _script(value: Any) -> str:
    """Return a value as JavaScript that cannot end the script that it stands in."""
    return json.dumps(value).replace("<", "\\u003c")
