"""The contract of the ledger: what must be true of every store of porch's truth.

Each method is one transaction: all of it happens, and is durable when the method returns, or none
of it; several may be joined. Methods may be called at the same time from many processes. When the
store cannot be reached or gives up, a method raises LedgerAway; the caller may then repeat it with
the same request_id, also when the first call had in fact been committed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from coordinator.errors import AccessDenied
from coordinator.messages import FeedPage, Wanted
from coordinator.model import (
    Change,
    Changing,
    Claim,
    Event,
    KeyRange,
    LookAlikes,
    Origin,
    Outcome,
    Outline,
    Permission,
    Pipeline,
    PipelineLoad,
    Registration,
    Standing,
    Swept,
    Task,
    TaskFilter,
    Token,
)
from coordinator.requests import Policy, Rotation
from coordinator.status import Status
from coordinator.views import (
    AdminEvent,
    Counts,
    FailureGroup,
    Happened,
    Looked,
    Position,
    Runs,
    Scope,
)


class Ledger(Protocol):
    """The store of pipelines, tokens, tasks and events."""

    def joined(self) -> AbstractContextManager[None]:
        """What this thread calls within is one transaction together, durable at the end."""
        ...

    # Work -----------------------------------------------------------------------------------

    def submit(self, registrations: Sequence[Registration]) -> list[list[Standing]]:
        """Register what is new, and tell for each request how its inputs stand, in order.

        Of equal inputs, in one call or in many at once, exactly one is ``created``; a
        ``request_id`` seen before is told again which ones it created. Overlapping calls in any
        order do not deadlock. Each new task has its first event.
        """
        ...

    def claim(self, claims: Sequence[Claim]) -> list[list[Task]]:
        """Hand out for each request up to ``n`` PENDING tasks, highest priority first, then oldest
        first; the first request is served first.

        No task is handed to two callers. Each handed out counts one attempt, starts its lease and
        has one event. A ``request_id`` seen before gets the tasks it got then, in the attempt it
        got them, and nothing more; also when it got none.
        """
        ...

    def take(self, pipeline: Pipeline, task_id: int, to: Status, origin: Origin) -> Outcome:
        """Hand out this very task if it is PENDING: CLAIMED or, claimed and started, RUNNING.

        Of many who ask at once, one is handed it. It counts one attempt and starts its lease; a
        task that becomes RUNNING has two events. A ``request_id`` seen before changes nothing.
        """
        ...

    def close_claim(self, pipeline: Pipeline, origin: Origin, claim: UUID) -> list[tuple[int, int]]:
        """End the claim that was asked for with request_id ``claim``.

        Returns (task_id, attempt) of what it was handed. A claim that has not been carried out yet
        never will be: it is handed nothing when its message comes at last.
        """
        ...

    def change(self, changes: Sequence[Change], origin: Origin) -> list[Outcome]:
        """Try each change, in order; each that happens has exactly one event.

        A change that this request_id made before is not made again. Overlapping calls in any order
        do not deadlock. A task that becomes RUNNING has a fresh lease, one that fails a time to be
        tried again, as its pipeline's policies are. What the holder of an earlier attempt says
        changes nothing and leaves an event that is ``refused``, at most one an hour of each kind.
        """
        ...

    def change_all(self, requests: Sequence[Changing]) -> list[list[Outcome]]:
        """As ``change``, for each of the requests, one after the other."""
        ...

    def hold(self, task_ids: Sequence[int]) -> set[int]:
        """Keep others from changing these tasks until the transaction that this is joined to ends.

        Waits for nobody: returns those that nobody else was just changing.
        """
        ...

    def heartbeat(self, tasks: Sequence[tuple[int, int | None]], origin: Origin) -> list[Outcome]:
        """For each (task_id, attempt): extend the lease if it is held in that attempt (None: any).

        No event is written, as nothing has changed but the time; but for one that comes from an
        earlier attempt, as with ``change``.
        """
        ...

    def sweep(self, request_id: UUID, most: int) -> Swept:
        """Do what time has made due, for up to ``most`` tasks of each kind.

        A task whose lease has run out is PENDING again, or FAILED if it has had all attempts that
        its pipeline allows; a failed one whose backoff is over is PENDING again. Each has its
        event. Any number of sweeps may run at once: a task is moved by one of them.
        """
        ...

    # Looking --------------------------------------------------------------------------------

    def find(
        self, pipeline: Pipeline | None, ranges: Sequence[KeyRange], most: int
    ) -> list[list[Task]]:
        """For each range, up to ``most`` tasks of the pipeline (None: any) that are in it."""
        ...

    def find_all(self, ranges: Sequence[tuple[Pipeline, KeyRange]], most: int) -> list[list[Task]]:
        """As ``find``, each range in a pipeline of its own; without the inputs."""
        ...

    def standing(
        self, pipeline: Pipeline, version: str, keys: Sequence[bytes]
    ) -> dict[bytes, Status]:
        """The status of each key that is known, in the scope in which ``submit`` would look."""
        ...

    def look_alikes(
        self, pipeline: Pipeline, version: str | None, inputs: Sequence[str], most: int
    ) -> LookAlikes:
        """For each input, the last task that differs from it in one value at the top level.

        Only the last ``most`` tasks of the pipeline and version (None: any) are looked at, and of
        these no large ones (see ``coordinator.nearness``). Raises TooSlow.
        """
        ...

    def by_id(self, task_ids: Sequence[int]) -> list[Task]:
        """The tasks with these numbers, in any order."""
        ...

    def events(self, task_id: int) -> list[Event]:
        """The events of a task, oldest first."""
        ...

    def tasks(self, wanted: TaskFilter, after: int, limit: int) -> list[Task]:
        """Up to ``limit`` tasks with a task_id beyond ``after``, in the order of registration."""
        ...

    def outlines(
        self, wanted: TaskFilter, after: int, limit: int, most_bytes: int
    ) -> list[Outline]:
        """As ``tasks``, in less time and room; and no more of them than have ``most_bytes`` of
        input, but one at least, if there is one."""
        ...

    def count(self, wanted: TaskFilter) -> dict[str, int]:
        """How many tasks there are per status; statuses with none are left out."""
        ...

    # Feed -----------------------------------------------------------------------------------

    def settled(self, seconds: float) -> int:
        """An event_id up to which no event will be added any more; it never falls.

        It is that of the newest event now if whoever is just committing is done within
        ``seconds``.
        """
        ...

    def feed(self, wanted: Wanted, after: int, upto: int, look_at: int, most: int) -> FeedPage:
        """The first ``most`` changes that are wanted, beyond ``after`` and up to ``upto``, of the
        next ``look_at`` events; in the order of their event_id, which is that of the changes of
        each task. What was refused is none. ``upto`` is settled. Whatever has been pruned beyond
        ``after`` is told by ``pruned``.
        """
        ...

    # Overview -------------------------------------------------------------------------------

    def newest(self, scope: Scope, after: Position | None, look_at: int, most: int) -> Looked:
        """The first ``most`` tasks that fit, of the next ``look_at`` in the order of the scope.

        ``end`` is the last of these, which bound what a page may cost.
        """
        ...

    def status_counts(self) -> list[Counts]:
        """Every pipeline, by name, with its tasks counted."""
        ...

    def now(self) -> datetime:
        """The time by which events are noted."""
        ...

    def happened(self, pipeline_id: int | None, begin: datetime, end: datetime) -> list[Happened]:
        """What happened from ``begin`` on and before ``end``; ticks of nothing are left out.

        In one pipeline, or in all.
        """
        ...

    def happened_in_each(self, begin: datetime, end: datetime) -> dict[str, list[Happened]]:
        """The same of each pipeline in which something happened, by name."""
        ...

    def run_times(self, latest: int) -> list[Runs]:
        """The run times of the ``latest`` DONE tasks of each pipeline that has any, by name.

        Those whose claim was filled in by an import are left out: when they began is not known.
        """
        ...

    def failure_groups(self, pipeline_id: int | None, latest: int, most: int) -> list[FailureGroup]:
        """The ``latest`` failures grouped by similar message, the largest group first."""
        ...

    def failures(
        self,
        pipeline_id: int,
        group: str,
        after: int,
        look_at: int,
        most: int,
        until: datetime | None,
    ) -> tuple[list[Task], int | None]:
        """The first ``most`` tasks of a group, of the next ``look_at`` FAILED ones by task_id.

        Of these, what failed by ``until``. And the task_id up to which was looked, None at the end.
        """
        ...

    # Administration -------------------------------------------------------------------------

    def pipeline(self, name: str) -> Pipeline | None:
        """The pipeline of that name."""
        ...

    def pipelines(self) -> list[Pipeline]:
        """All pipelines, by name."""
        ...

    def pipeline_names(self) -> list[str]:
        """All names, sorted."""
        ...

    def loads(self, name: str | None = None) -> list[PipelineLoad]:
        """All pipelines (or one) by name, with their tasks counted."""
        ...

    def register_pipeline(self, name: str, uri: str, version: str, origin: Origin) -> bool:
        """Add a pipeline with its first version; nothing is done if the name is taken.

        Returns whether this request added it, now or before.
        """
        ...

    def add_version(self, pipeline: Pipeline, version: str, origin: Origin) -> bool:
        """Add a version if the pipeline has it not; whether this request did, now or before."""
        ...

    def set_policy(self, pipeline: Pipeline, policy: Policy, origin: Origin) -> None:
        """Give the pipeline what is given of ``policy``; the others stay as they are by then.

        Tasks that exist get the identity policy too; raises IdentityConflict, and changes nothing,
        where the policy ``pipeline`` would make one task of several; BadRequest for a retry without
        a limit of attempts. What a sweep does goes by the policies of its own moment. A request
        that comes again undoes nothing that was set since.
        """
        ...

    def permissions(self, digests: Collection[bytes]) -> dict[bytes, Permission | AccessDenied]:
        """What the token with each SHA-256 allows; UnknownToken, RevokedToken or ExpiredToken:
        nothing."""
        ...

    def keys(self, names: Collection[bytes]) -> dict[bytes, bytes]:
        """The digests of tokens, also of those that are good no more, by the SHA-256 of each; a
        name that is nobody's is left out."""
        ...

    def add_token(
        self,
        digest: bytes,
        pipeline: Pipeline | None,
        description: str,
        *,
        lifetime: int | None = None,
        origin: Origin | None = None,
    ) -> Token:
        """Register a token (no pipeline: an admin token). The same again returns the same.

        ``lifetime``: the seconds for which it is good, None for ever. No ``origin``: somebody with
        access to the database. Raises TokenExists where the digest stands for another pipeline.
        """
        ...

    def tokens(self, pipeline: Pipeline | None) -> list[Token]:
        """The tokens of a pipeline, or all, in the order of issue."""
        ...

    def rotate_token(self, rotation: Rotation, origin: Origin) -> tuple[Token, Token] | None:
        """Register a token for the same as an old one, which is good for some time yet.

        Returns the new one and the old one; None if there is none with that number. The same again
        returns the same. Raises TokenEnded, TokenExists.
        """
        ...

    def revoke_token(self, token_id: int, origin: Origin) -> Token | None:
        """Make a token worthless from now on; None if there is none with that number."""
        ...

    def admin_events(self, after: int, limit: int) -> list[AdminEvent]:
        """Up to ``limit`` of what administrators did, beyond ``after``, oldest first.

        Each change of a pipeline, a policy or a token has one, written with it; what changed
        nothing has none.
        """
        ...
