"""Composing: from one customer's invoices and documents to the bytes that leave."""

import re
from typing import Final

CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no header, file name or path may hold: C0, C1, line separators, lone surrogates."""
