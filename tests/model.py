"""porch in a few dozen lines: what the ledger is compared with, and three ways to get it wrong.

Without SQL, without races, and without a care for speed. Its clock stands still until it is told
that time passes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from coordinator.requests import Policy, Seen
from coordinator.status import HELD, TRANSITIONS, Status

S = Status
HOUR = 3_600
#: Where in its bounds a backoff ends is left to chance.
JITTER = (0.75, 1.25)

Handed = tuple[bytes, str, int]


@dataclass
class Known:
    """What the model knows of one task."""

    key: bytes
    version: str
    priority: int
    order: int
    creator: UUID
    status: Status = S.PENDING
    attempt: int = 0
    lease_until: float | None = None
    #: The first and the last moment at which it may be tried again.
    retry: tuple[float, float] | None = None
    path: list[tuple[Status | None, Status, int]] = field(
        default_factory=lambda: [(None, S.PENDING, 0)]
    )
    #: (request, status it led to) -> the attempt in which it was made
    made: dict[tuple[UUID, Status], int] = field(default_factory=dict)
    #: What came too late: (status from, status told, attempt), and when each kind was noted.
    late: list[tuple[Status, Status, int]] = field(default_factory=list)
    noted_at: dict[tuple[int, Status], float] = field(default_factory=dict)
    noted_for: set[tuple[UUID, Status]] = field(default_factory=set)
    #: The attempt has ended without a word of its holder.
    over: bool = False

    def go(self, to: Status, request: UUID | None) -> None:
        self.path.append((self.status, to, self.attempt))
        if request is not None:
            self.made[request, to] = self.attempt
        self.status, self.lease_until, self.retry = to, None, None
        self.over = to is S.PENDING or request is None


class Model:
    """All of porch that a caller can see."""

    def __init__(self, policy: Policy) -> None:
        self.tasks: dict[tuple[bytes, str], Known] = {}
        self.claims: dict[UUID, list[Handed]] = {}
        self.clock = 0.0
        given = policy.given()
        self.lease: float | None = given["lease"]
        self.most: int | None = given["max_attempts"]
        self.backoff: float | None = given["retry"]

    def submit(
        self, request: UUID, keys: list[bytes], version: str, priority: int
    ) -> list[tuple[Status, bool]]:
        answers, told = [], set()
        for key in keys:
            if (key, version) not in self.tasks:
                order = len(self.tasks)
                self.tasks[key, version] = Known(key, version, priority, order, request)
            task = self.tasks[key, version]
            answers.append((task.status, task.creator == request and key not in told))
            told.add(key)
        return answers

    def claim(self, request: UUID, n: int, version: str | None) -> list[Handed]:
        if not self.knows(request):
            due = [
                task
                for task in self.tasks.values()
                if task.status is S.PENDING and version in (None, task.version)
            ]
            due.sort(key=lambda task: (-task.priority, task.order))
            for task in due[:n]:
                task.attempt += 1
                task.go(S.CLAIMED, request)
                self.vouch(task)
            self.claims[request] = [(task.key, task.version, task.attempt) for task in due[:n]]
        return self.claims[request]

    def knows(self, request: UUID) -> bool:
        """Whether this claim has been carried out before."""
        return request in self.claims

    def vouch(self, task: Known) -> None:
        """Somebody is at work on it."""
        if self.lease is not None:
            task.lease_until = self.clock + self.lease

    def fits(self, attempt: int | None, task: Known) -> bool:
        """Whether a report of this attempt is of the current one."""
        return attempt in (None, task.attempt)

    def report(
        self,
        request: UUID,
        task: Known,
        to: Status,
        allowed: frozenset[Status],
        attempt: int | None,
        *,
        permanent: bool = False,
    ) -> str:
        if attempt is None and self.lease is not None and to is not S.PENDING:
            return "attempt_needed"
        answer = self.change(request, task, to, allowed, attempt)
        if answer == "changed" and to is S.RUNNING:
            self.vouch(task)
        elif answer == "changed" and to is S.FAILED and not permanent:
            self.try_later(task)
        elif answer == "holds" and to is S.RUNNING and (request, to) not in task.made:
            self.vouch(task)
        elif answer == "holds" and to is S.FAILED is task.status and permanent:
            task.retry = None
        elif answer == "stale_attempt":
            self.note_late(request, task, to, attempt or 0)
        return answer

    def try_later(self, task: Known) -> None:
        if self.backoff is not None and self.most is not None and task.attempt < self.most:
            wait = min(self.backoff * 2 ** (task.attempt - 1), max(self.backoff, 24 * HOUR))
            first, last = (self.clock + wait * part for part in JITTER)
            task.retry = first, last

    def change(
        self,
        request: UUID,
        task: Known,
        to: Status,
        allowed: frozenset[Status],
        attempt: int | None,
    ) -> str:
        made = task.made.get((request, to))
        if made is None and task.status in allowed and self.fits(attempt, task):
            task.go(to, request)
            return "changed"
        if made is not None and attempt in (None, made):
            return "holds"
        given_back = to is task.status is S.PENDING and attempt == task.attempt
        if self.is_over(attempt, task) and not given_back:
            return "stale_attempt"
        return "holds" if task.status is to and self.fits(attempt, task) else "illegal_change"

    def is_over(self, attempt: int | None, task: Known) -> bool:
        if attempt is None:
            return False
        return attempt < task.attempt or (attempt == task.attempt > 0 and task.over)

    def note_late(self, request: UUID, task: Known, to: Status, attempt: int) -> None:
        last = task.noted_at.get((attempt, to))
        known = (request, to) in task.made or (request, to) in task.noted_for
        if attempt < 1 or known or (last is not None and self.clock - last < HOUR):
            return
        task.late.append((task.status, to, attempt))
        task.noted_at[attempt, to] = self.clock
        task.noted_for.add((request, to))

    def heartbeat(self, request: UUID, task: Known, attempt: int | None) -> str:
        if attempt is None and self.lease is not None:
            return "attempt_needed"
        if self.is_over(attempt, task):
            self.note_late(request, task, S.RUNNING, attempt or 0)
            return "stale_attempt"
        if task.status in HELD and self.fits(attempt, task):
            self.vouch(task)
            return "changed"
        return "illegal_change"

    def decide(
        self, request: UUID, task: Known, verb: str, to: Status, seen: Seen, force: bool
    ) -> str:
        if verb not in TRANSITIONS[seen.status].values():
            return "illegal_change"
        if seen.status is S.DONE and not force:
            return "force_needed"
        answer = self.change(request, task, to, frozenset({seen.status}), seen.attempt)
        return answer if answer in {"changed", "holds"} else "status_changed"

    def release_claim(self, request: UUID, claim: UUID) -> int:
        handed = self.claims.setdefault(claim, [])
        answers = [
            self.change(
                request, self.tasks[key, version], S.PENDING, frozenset({S.CLAIMED}), attempt
            )
            for key, version, attempt in handed
        ]
        return sum(self._gave_back(answer, request, handed[n]) for n, answer in enumerate(answers))

    def _gave_back(self, answer: str, request: UUID, handed: Handed) -> bool:
        key, version, attempt = handed
        made = self.tasks[key, version].made.get((request, S.PENDING))
        return answer == "changed" or made == attempt

    def in_doubt(self) -> bool:
        """Whether it is a matter of chance what a sweep would do now."""
        bounds = [task.retry for task in self.tasks.values() if task.retry]
        return any(first <= self.clock <= last for first, last in bounds)

    def sweep(self) -> None:
        for task in self.tasks.values():
            if task.lease_until is not None and task.lease_until < self.clock:
                used_up = self.most is not None and task.attempt >= self.most
                task.go(S.FAILED if used_up else S.PENDING, None)
            elif task.retry is not None and task.retry[1] < self.clock:
                task.go(S.PENDING, None)


class WithoutFencing(Model):
    """Broken: whoever reports is believed, whatever their attempt."""

    def fits(self, attempt: int | None, task: Known) -> bool:
        return True


class WithoutRequestIds(Model):
    """Broken: a claim that is delivered again is another claim."""

    def knows(self, request: UUID) -> bool:
        return False


class WithAShortLease(Model):
    """Broken: a lease is over before its holder has sent the next heartbeat."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.lease = self.lease and self.lease / 10
