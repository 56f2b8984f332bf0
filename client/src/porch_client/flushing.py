"""Sending what a spool keeps: oldest first, each file removed once PostgreSQL has answered for it.

A sender that is killed between the answer and the removal leaves a file that is sent again, and
whose definitions are known then. Reports are sent when all before them has been answered, so that
RUNNING does not come after DONE.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from porch_client.bundle import Bundle, Reports
from porch_client.channel import UNSENT, Channel, Pending
from porch_client.errors import AccessDenied, Misconfigured, PorchError, Unreachable, from_wire
from porch_client.model import Flushed
from porch_client.render import many
from porch_client.spool import Spool, reports, size

#: Refusals that do not tell against what was sent: it stays, and is sent again.
PASSING = frozenset(("internal_error", "too_slow", "unknown_wire_version"))


@dataclass(frozen=True, slots=True)
class Sent:
    """A file of the spool that is under way."""

    name: str
    bundle: Bundle | Reports
    pending: Pending


class Flush:
    """One pass over a spool, with at most ``window`` messages under way."""

    def __init__(self, channel: Channel, spool: Spool, window: int) -> None:
        self._channel = channel
        self._spool = spool
        self._window = window
        self._created = self._reported = self._reports = 0
        self._known: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._first: dict[str, PorchError] = {}
        self._denied: dict[str | None, AccessDenied] = {}

    def run(self, besides: str | None = None) -> Flushed:
        """Send what is there now, but for one file. Being out of reach ends it; everything
        unanswered stays."""
        self._spool.tidy()
        names = deque(name for name in self._spool.waiting() if name != besides)
        self._reports = sum(size(name) for name in names if reports(name))
        under_way: deque[Sent] = deque()
        # While nobody answers, each call leaves one message with the broker, and not a window full.
        window = 1
        away: Unreachable | None = None
        try:
            while names or under_way:
                while names and len(under_way) < window and _may_go(names[0], under_way):
                    sent = self._send(names.popleft())
                    if sent is not None:
                        under_way.append(sent)
                if under_way:
                    self._settle(under_way[0])
                    under_way.popleft()
                    window = self._window
        except Unreachable as error:
            away = error
        left = sum(map(size, [*(sent.name for sent in under_way), *names]))
        return Flushed(
            self._created,
            dict(self._known),
            self._refused.total(),
            self._kept.total(),
            left,
            tuple(self._errors()),
            away,
            self._reported,
            self._reports,
        )

    def _send(self, name: str) -> Sent | None:
        try:
            bundle = self._spool.read(name)
        except Misconfigured as error:
            self._keep(size(name), error)
            return None
        except PorchError as error:
            self._spool.refuse(name, error)
            self._refuse(size(name), error)
            return None
        if bundle is None:
            return None
        if (denied := self._denied.get(bundle.pipeline)) is not None:
            self._keep(len(bundle), denied)
            return None
        pending = bundle.prepare(self._channel)
        self._channel.send(pending)
        return Sent(name, bundle, pending)

    def _settle(self, sent: Sent) -> None:
        """Take the answer to a file. Raises Unreachable, and then nothing has become of it."""
        n = len(sent.bundle)
        try:
            results = self._channel.wait(sent.pending, unsent=UNSENT)["results"]
        except (Unreachable, Misconfigured):
            raise
        except PorchError as error:
            if isinstance(error, AccessDenied):
                self._denied[sent.bundle.pipeline] = error
            if isinstance(error, AccessDenied) or error.code in PASSING:
                self._keep(n, error)
            else:
                self._spool.refuse(sent.name, error)
                self._refuse(n, error)
            return
        errors: dict[int, PorchError] = {}
        for offset, result in zip(range(n), results, strict=True):
            if "error" in result:
                errors[offset] = from_wire(result["error"])
            elif isinstance(sent.bundle, Reports):
                self._reported += 1
            elif result["created"]:
                self._created += 1
            else:
                self._known[result["status"]] += 1
        if not errors:
            self._spool.remove(sent.name)
            return
        self._spool.refuse_some(sent.name, sent.bundle, errors)
        for refusal in errors.values():
            self._refuse(1, refusal)

    def _refuse(self, n: int, error: PorchError) -> None:
        self._refused[error.code] += n
        self._first.setdefault(error.code, error)

    def _keep(self, n: int, error: PorchError) -> None:
        self._kept[error.code] += n
        self._first.setdefault(error.code, error)

    def _errors(self) -> list[PorchError]:
        """The first of each code, with how many met the like and where they are."""
        where = [(code, n, self._spool.refused) for code, n in self._refused.items()]
        where += [(code, n, self._spool.path) for code, n in self._kept.items()]
        errors = []
        for code, n, folder in where:
            first = self._first[code]
            unit = "item" if self._reports else "definition"
            what = f"{many(n, unit)} of the spool in {folder}: {first.message}"
            errors.append(type(first)(code, what, first.cure))
        return errors


def flush_first(channel: Channel, spool: Spool, window: int, besides: str | None = None) -> Flushed:
    """Send what is kept from before, unless somebody else is just doing that."""
    with spool.lock() as ours:
        return Flush(channel, spool, window).run(besides) if ours else Flushed()


def _may_go(name: str, under_way: Sequence[Sent]) -> bool:
    """Whether a file may be sent beside those under way: reports go alone."""
    return not under_way or not (reports(name) or reports(under_way[-1].name))
