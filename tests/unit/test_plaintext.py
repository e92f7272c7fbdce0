"""The text that is derived from HTML: what a person would read there, and nothing hidden."""

import pytest

from msgrun.compose.plaintext import text_of


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain &amp; simple", "plain & simple\n"),
        ("<p>a\n  b</p><p>c</p>", "a b\n\nc\n"),
        ("<p>a<br>b<br/><br/>c</p>", "a\nb\n\nc\n"),
        ("a <b>b</b>c <i> d</i>", "a bc d\n"),
        ("<div>a</div><div>b</div>", "a\nb\n"),
        ("<h1>T</h1>x<hr>y", "T\n\nx\n\n--------------------\n\ny\n"),
        ("<ul><li>a<li>b<ol><li>c</li><li>d</li></ol></ul>", "- a\n- b\n  1. c\n  2. d\n"),
        ("<a href='https://x.test/'>https://x.test/</a>", "https://x.test/\n"),
        ("<a href='https://x.test/'>there</a>.", "there (https://x.test/).\n"),
        ("<a href='mailto:a@x.test'>write</a>", "write (a@x.test)\n"),
        ("<a href='#top'>up</a> <a href='javascript:x()'>b</a>", "up b\n"),
        ("<img src='cid:1' alt='Acme'><img src='cid:2'>", "Acme\n"),
        ("<head><title>T</title></head><style>p{}</style><script>if (a<b) x()</script>y", "y\n"),
        ("<div style='display:none'>a<div>b</div></div>c", "c\n"),
        ("a<!-- <p>b --><!--[if mso]>c<![endif]-->d", "ad\n"),
        ("1 < 2 & 3 > 2 <", "1 < 2 & 3 > 2 <\n"),
        ("&lt;b&gt; 5&nbsp;€", "<b> 5\xa0€\n"),
        (
            "<table><tr><th>No<th>Total</tr><tr><td>INV-1000</td><td>1</td></tr></table>x",
            "No        Total\nINV-1000  1\n\nx\n",
        ),
        (
            "<table><tr><td><p>a</p><p>b</p></td></tr><tr><td><table><tr><td>c<td>d</table></table>",
            "a\n\nb\nc  d\n",
        ),
        ("<table><tr><td>open", "open\n"),
        ("</td></table></ul></a></p>x", "x\n"),
    ],
)
def test_html_reads_as_text(html, text):
    assert text_of(html) == text
