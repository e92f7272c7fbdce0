"""A one-page PDF made by hand (ISO 32000-1), so that sample invoices open in a viewer."""

import unicodedata
from collections.abc import Sequence

MAX_LINES = 40
_LEFT, _COLUMN, _TOP, _LEADING = 60, 400, 770, 16


def invoice_pdf(title: str, lines: Sequence[str]) -> bytes:
    """Return an A4 page with a heading and lines of text.

    A tab in a line begins a second column, for amounts. Letters that WinAnsiEncoding lacks
    become the nearest one it has, or "?".

    Raises:
        ValueError: there are more than `MAX_LINES` lines.
    """
    if len(lines) > MAX_LINES:
        raise ValueError(f"{len(lines)} lines do not fit on one page; at most {MAX_LINES} do")
    content = _content(title, lines)
    return _file(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            (
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R\n"
                b"   /Resources << /Font << /F1 5 0 R /F2 6 0 R >> >> >>"
            ),
            b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
            _font(b"Helvetica"),
            _font(b"Helvetica-Bold"),
            b"<< /Title %b /Producer (msgrun demo) >>" % _string(title),
        ]
    )


def _content(title: str, lines: Sequence[str]) -> bytes:
    parts = [
        b"BT /F2 20 Tf %d %d Td %b Tj ET" % (_LEFT, _TOP, _string(title)),
        b"0.2 0.4 0.6 RG 1.5 w %d %d m %d %d l S" % (_LEFT, _TOP - 12, 595 - _LEFT, _TOP - 12),
    ]
    for number, line in enumerate(lines, 1):
        height = _TOP - 28 - number * _LEADING
        left, _, right = line.partition("\t")
        for x, text in ((_LEFT, left), (_COLUMN, right)):
            if text:
                parts.append(b"BT /F1 11 Tf %d %d Td %b Tj ET" % (x, height, _string(text)))
    return b"\n".join(parts)


def _file(objects: Sequence[bytes]) -> bytes:
    """Join numbered objects with the cross-reference table (ISO 32000-1, 7.5.4)."""
    result = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    entries = [b"0000000000 65535 f \n"]
    for number, body in enumerate(objects, 1):
        entries.append(b"%010d 00000 n \n" % len(result))
        result += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start, size = len(result), len(entries)
    result += b"xref\n0 %d\n%b" % (size, b"".join(entries))
    result += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (size, size - 1)
    result += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(result)


def _font(name: bytes) -> bytes:
    return b"<< /Type /Font /Subtype /Type1 /BaseFont /%b /Encoding /WinAnsiEncoding >>" % name


def _string(text: str) -> bytes:
    """Return a literal string (ISO 32000-1, 7.3.4.2)."""
    encoded = b"".join(_win_ansi(character) for character in text)
    for special in (b"\\", b"(", b")"):
        encoded = encoded.replace(special, b"\\" + special)
    return b"(%b)" % encoded


def _win_ansi(character: str) -> bytes:
    if not character.isprintable():
        return b" "
    for candidate in (character, unicodedata.normalize("NFKD", character)[0]):
        try:
            return candidate.encode("cp1252")
        except UnicodeEncodeError:
            continue
    return b"?"
