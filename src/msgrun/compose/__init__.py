"""Composing: from one customer's invoices and documents to the bytes that leave."""

import re
from typing import Final

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no header, file name or path may hold: C0, C1, line separators, lone surrogates."""

FORGING: Final = re.compile(rf"{CONTROL.pattern}|=\?")
"""What no header value may hold: also the sign that begins an encoded word (RFC 2047).

A parser that decodes where it should not makes a header field of it (CVE-2024-6923 and kin).
"""
