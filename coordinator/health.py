"""What an examination has to say: checks, each with what it looked at and what it found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

#: Counter-examples of one check that are kept; the others are only counted.
MOST_SHOWN = 5

LookedAt = Mapping[str, int | float | str | None]


class Level(StrEnum):
    """How a check ended. Only ``wrong`` is unhealthy."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One counter-example: what is wrong, and the command that mends or shows it, where there is
    one. ``runbook``: the section of docs/runbook.md that tells what to do."""

    what: str
    level: Level = Level.WRONG
    look: str | None = None
    runbook: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what it looked at, the first things that it found, and how many there are.

    ``about``: what must be so, in words. ``skipped``: why nothing was looked at.
    """

    name: str
    looked_at: LookedAt = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    found: int = 0
    about: str = ""
    skipped: str | None = None

    @classmethod
    def of(
        cls, name: str, looked_at: LookedAt, findings: Iterable[Finding] = (), about: str = ""
    ) -> Check:
        """A check with all that it found: what is wrong first."""
        every = sorted(findings, key=lambda finding: finding.level is not Level.WRONG)
        return cls(name, looked_at, tuple(every[:MOST_SHOWN]), len(every), about)

    def calm(self) -> Check:
        """The same without its warnings: where they are but consequences of something else."""
        wrong = tuple(one for one in self.findings if one.level is Level.WRONG)
        return replace(self, findings=wrong, found=len(wrong))

    @property
    def level(self) -> Level:
        """The worst of what was found."""
        if self.skipped is not None:
            return Level.SKIPPED
        levels = {finding.level for finding in self.findings}
        return next((bad for bad in (Level.WRONG, Level.WARNING) if bad in levels), Level.OK)

    def as_dict(self) -> dict[str, Any]:
        """The check as data."""
        return {
            "name": self.name,
            "about": self.about,
            "ok": self.level is not Level.WRONG,
            "level": self.level.value,
            "looked_at": dict(self.looked_at),
            "found": self.found,
            "findings": [
                {
                    "what": one.what,
                    "level": one.level.value,
                    "look": one.look,
                    "runbook": one.runbook,
                }
                for one in self.findings
            ],
            "skipped": self.skipped,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """A whole examination. ``seconds``: how long it took."""

    checks: tuple[Check, ...]
    seconds: float

    @property
    def healthy(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> tuple[Check, ...]:
        """The checks that make it unhealthy."""
        return self._at(Level.WRONG)

    @property
    def warned(self) -> tuple[Check, ...]:
        """The checks that found something to look at, and nothing worse."""
        return self._at(Level.WARNING)

    def _at(self, level: Level) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.level is level)

    def as_dict(self) -> dict[str, Any]:
        """The examination as data."""
        return {
            "healthy": self.healthy,
            "checks": [check.as_dict() for check in self.checks],
            "seconds": round(self.seconds, 3),
        }
