"""Numbers of versions (Semantic Versioning 2.0.0, semver.org): their order, and which one comes next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from typing import Final

FIRST: Final = "1.0.0"
_NUMBER: Final = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z")


@total_ordering
@dataclass(frozen=True, slots=True)
class Number:
    """A version's number. Equal if it means the same: `1.2` is `1.2.0`, and what follows a `+` does not count."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    """What comes before the number itself: `beta.2` of `1.0.0-beta.2`."""

    @staticmethod
    def parse(text: str) -> Number | None:
        """The number of a text; None if it is none."""
        found = _NUMBER.match(text)
        if found is None:
            return None
        major, minor, patch = (int(part or 0) for part in found.group(1, 2, 3))
        return Number(major, minor, patch, tuple(found[4].split(".")) if found[4] else ())

    def __str__(self) -> str:
        pre = f"-{'.'.join(self.pre)}" if self.pre else ""
        return f"{self.major}.{self.minor}.{self.patch}{pre}"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Number):
            return NotImplemented
        return self._order() < other._order()

    def next(self) -> Number:
        """The next patch; of what comes before a number, the number."""
        return Number(self.major, self.minor, self.patch + (0 if self.pre else 1))

    def _order(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
        # Section 11: numbers before words, the number itself after all that comes before it.
        pre = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in self.pre)
        return self.major, self.minor, self.patch, not self.pre, pre


def canonical(text: str) -> str:
    """A number as it is kept: `1.2` as `1.2.0`; a text that is no number as it is."""
    found = Number.parse(text)
    return text if found is None else str(found)


def next_number(stated: str | None, latest: str | None) -> str:
    """A new version's number: the one that its text states if it is higher than the latest, else the next patch."""
    wanted = None if stated is None else Number.parse(stated)
    before = None if latest is None else Number.parse(latest)
    if before is None:
        return FIRST if wanted is None else str(wanted)
    return str(wanted) if wanted is not None and wanted > before else str(before.next())
