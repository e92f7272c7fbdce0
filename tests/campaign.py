"""The book of the fault campaign: what was tried and what it cost, printed when the tests end.

`pytest -m campaign` runs the full counts; a share of each row runs with every other test.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Row:
    """The figures of one fault: how often it was tried, and what became of the messages.

    Attributes:
        tried: faults made.
        messages: messages that were under way in them.
        lost: messages that are neither sent nor visibly something else.
        twice: messages that arrived more than once.
        doubts: messages in doubt.
        note: the bound that was held beside these, in a few words.
    """

    tried: int = 0
    messages: int = 0
    lost: int = 0
    twice: int = 0
    doubts: int = 0
    note: str = ""


@dataclass(slots=True)
class Tally:
    """What the campaign has tried, by the name of the fault."""

    rows: dict[str, Row] = field(default_factory=dict)

    def add(
        self,
        fault: str,
        *,
        tried: int,
        messages: int = 0,
        lost: int = 0,
        twice: int = 0,
        doubts: int = 0,
        note: str = "",
    ) -> None:
        """Add to the figures of one fault; call it after the assertions have passed."""
        row = self.rows.setdefault(fault, Row())
        row.tried += tried
        row.messages += messages
        row.lost += lost
        row.twice += twice
        row.doubts += doubts
        row.note = note or row.note

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the figures of each fault as `add` takes them."""
        return {name: asdict(row) for name, row in self.rows.items()}

    def lines(self) -> Iterator[str]:
        """Return the figures as a Markdown table."""
        yield "| fault | tried | messages | lost | twice | in doubt | held |"
        yield "|---|---|---|---|---|---|---|"
        for name, row in sorted(self.rows.items()):
            figures = (row.tried, row.messages, row.lost, row.twice, row.doubts)
            cells = (name, *(f"{figure:,}" for figure in figures), row.note)
            yield f"| {' | '.join(cells)} |"
