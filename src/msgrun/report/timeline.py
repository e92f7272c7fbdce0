"""How many messages a minute: counted in a bounded number of slices, whatever the run's length."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

# Each is a multiple of the one before, so that slices can be joined.
_WIDTHS: Final = (1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400, 604_800)
_KEPT: Final = 4_096  # slices; more are joined
_DRAWN: Final = 96


@dataclass(slots=True)
class Timeline:
    """Messages by when they were accepted.

    Attributes:
        width: seconds of a slice.
    """

    width: int = 1
    _slices: Counter[int] = field(default_factory=Counter)

    def add(self, when: datetime) -> None:
        """Count one message."""
        self._slices[int(when.timestamp()) // self.width] += 1
        while len(self._slices) > _KEPT:
            self._widen()

    def settle(self) -> None:
        """Join slices until there are so few that they can be drawn."""
        while self._slices and self._span() > _DRAWN and self.width < _WIDTHS[-1]:
            self._widen()

    def slices(self) -> Sequence[tuple[datetime, int]]:
        """Return each slice's begin with its count, from first to last; the empty ones too."""
        if not self._slices:
            return ()
        first, last = min(self._slices), max(self._slices)
        return [
            (datetime.fromtimestamp(each * self.width, UTC), self._slices[each])
            for each in range(first, last + 1)
        ]

    def a_minute(self, count: int) -> float:
        """Return what the count of one slice comes to in a minute."""
        return count * 60 / self.width

    def _span(self) -> int:
        return max(self._slices) - min(self._slices) + 1

    def _widen(self) -> None:
        wider = _WIDTHS[_WIDTHS.index(self.width) + 1]
        joined = Counter[int]()
        for place, count in self._slices.items():
            joined[place * self.width // wider] += count
        self.width, self._slices = wider, joined
