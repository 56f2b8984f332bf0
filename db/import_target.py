"""The statements of an import: what is here already, and the writing of what is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from io import StringIO
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError

from coordinator.errors import InternalError, PipelineExists, PorchError
from coordinator.identity import Identified
from coordinator.moving_over import Change, Moved, Path
from coordinator.reconciliation import Reconciliation
from coordinator.status import Status
from db import import_statements as statements
from db.import_fitness import fit
from db.import_tokens import Tokens
from db.npg_porch_source import SourcePipeline, SourceToken
from db.shape import behind
from db.translate import translated

_STAND_IN = "moved over from npg_porch: stands for tokens that are not here"

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

Key = tuple[int | None, str, bytes]


class NotMigrated(PorchError):
    """The database to import into is not at the schema of this release."""

    code = "not_migrated"


@dataclass(slots=True)
class Place:
    """A pipeline of the source, and where it is here; no ``pipeline_id`` in a dry run if new."""

    source_id: int
    name: str
    pipeline_id: int | None
    identity: str
    versions: frozenset[str]

    def scope(self, version: str) -> str:
        """Within which an input is one task."""
        return version if self.identity == "version" else ""


class Arrival(NamedTuple):
    """A task that is to be here."""

    source_id: int
    place: Place
    version: str
    identified: Identified
    created: datetime
    source: str
    path: Path
    changes: list[Change]
    state: Status

    @property
    def key(self) -> Key:
        return self.place.pipeline_id, self.place.scope(self.version), self.identified.key


class Here(NamedTuple):
    """A task that is here, with its events in order."""

    task_id: int
    status: str
    attempt: int
    updated_at: datetime
    leased: bool
    events: list[Row[Any]]

    @property
    def requests(self) -> list[object]:
        """The request_ids of its events."""
        return [event.request_id for event in self.events]


class Further(NamedTuple):
    """A task that is here and has gone on there: ``path`` leads on from where it is here."""

    arrival: Arrival
    here: Here
    path: Path


_Line = tuple[Moved, int, str]


class Target:
    """The database to import into. Raises NotMigrated if it is not ready."""

    def __init__(self, engine: Engine, *, dry_run: bool) -> None:
        self._engine, self._dry_run = engine, dry_run
        with translated():
            needed = behind(engine)
        if needed is not None:
            raise NotMigrated(f"the database of porch {needed}", "run `porch-server migrate` first")

    @contextmanager
    def transaction(self) -> Iterator[Landing]:
        """One transaction; nothing is written in it in a dry run."""
        with _ours(), translated(), self._engine.begin() as connection:
            connection.execute(statements.BOUNDS)
            if self._dry_run:
                connection.execute(text("SET TRANSACTION READ ONLY"))
            else:
                connection.execute(statements.TAKE_TURNS)
            yield Landing(connection, dry_run=self._dry_run)


@contextmanager
def _ours() -> Iterator[None]:
    """So that it is not taken for an error of the source."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines()[0]
        raise InternalError(f"the database of porch says: {said}") from error


class Landing:
    """One transaction of an import."""

    def __init__(self, connection: Connection, *, dry_run: bool) -> None:
        self._connection, self._dry_run = connection, dry_run

    def places(
        self, pipelines: Sequence[SourcePipeline], account: Reconciliation
    ) -> dict[int, Place]:
        """Write pipelines and versions that are not here yet. Raises PipelineExists."""
        pipelines = fit(pipelines, account)
        known = {p.name: self._first(statements.PIPELINES, name=p.name) for p in pipelines}
        for pipeline in pipelines:
            there = known[pipeline.name]
            if there is not None and there.uri != pipeline.uri:
                raise PipelineExists(
                    f'pipeline "{pipeline.name}" is here with uri {there.uri}, and in npg_porch '
                    f"with {pipeline.uri}; nothing was imported",
                    "make the two the same, or import into another database",
                )
        return {p.pipeline_id: self._place(p, known[p.name], account) for p in pipelines}

    def _place(
        self, pipeline: SourcePipeline, known: Row[Any] | None, account: Reconciliation
    ) -> Place:
        if known is None:
            account["pipeline"].written += 1
            new = self._write(statements.ADD_PIPELINE, name=pipeline.name, uri=pipeline.uri)
            place = Place(
                pipeline.pipeline_id, pipeline.name, new, "version", frozenset(pipeline.versions)
            )
        else:
            account["pipeline"].here += 1
            place = Place(
                pipeline.pipeline_id,
                pipeline.name,
                known.pipeline_id,
                known.identity,
                frozenset(pipeline.versions),
            )
        values = {"pipeline_id": place.pipeline_id}
        there = {row.version for row in self._connection.execute(statements.VERSIONS, values)}
        for version in pipeline.versions:
            if version in there:
                account["version"].here += 1
            else:
                account["version"].written += 1
                if not self._dry_run:
                    self._connection.execute(statements.ADD_VERSION, {**values, "v": version})
        return place

    def token(self, digest: bytes) -> Row[Any] | None:
        """The token of this digest."""
        return self._first(statements.TOKEN, digest=digest)

    def add_token(self, token: SourceToken, digest: bytes, pipeline_id: int | None) -> int:
        """Write a token; its number."""
        number = self._write(
            statements.ADD_TOKEN,
            digest=digest,
            pipeline_id=pipeline_id,
            description=token.description,
            issued=token.issued,
            revoked=token.revoked,
        )
        return number or 0

    def revoke(self, token_id: int, at: datetime) -> None:
        """Revoke a token as it was revoked there."""
        if not self._dry_run:
            self._connection.execute(statements.REVOKE, {"token_id": token_id, "at": at})

    def stand_in(self, place: Place) -> tuple[int, bool]:
        """The token that stands for those that are not here, and whether it was made now.

        Nobody can hold it: its digest is that of no text that could be a token.
        """
        digest = sha256(f"{_STAND_IN}: {place.name}".encode()).digest()
        known = self.token(digest)
        if known is not None:
            return int(known.token_id), False
        now = datetime.now(UTC)
        token = SourceToken(0, None, _STAND_IN, None, now, now)
        return self.add_token(token, digest, place.pipeline_id), True

    def changed_policies(self, places: Iterable[Place]) -> list[str]:
        """Pipelines whose identity policy is another than it was; the others keep it."""
        by_id = {place.pipeline_id: place for place in places if place.pipeline_id is not None}
        if self._dry_run:
            return []
        rows = self._connection.execute(statements.POLICIES, {"ids": list(by_id)})
        return [
            by_id[row.pipeline_id].name
            for row in rows
            if row.identity != by_id[row.pipeline_id].identity
        ]

    def landed(self, tasks: Sequence[tuple[int, Key, UUID]]) -> set[int]:
        """Which of the tasks have been moved before: number there, key, and what they land by."""
        tasks = [task for task in tasks if task[1][0] is not None]
        if not tasks:
            return set()
        values = {
            "numbers": [number for number, _, _ in tasks],
            "pipelines": [key[0] for _, key, _ in tasks],
            "scopes": [key[1] for _, key, _ in tasks],
            "keys": [key[2] for _, key, _ in tasks],
            "requests": [str(request) for _, _, request in tasks],
        }
        return {row.number for row in self._connection.execute(statements.LANDED, values)}

    def known(self, arrivals: Sequence[Arrival]) -> dict[Key, Here]:
        """Those that are here."""
        places = [a for a in arrivals if a.place.pipeline_id is not None]
        if not places:
            return {}
        rows = self._connection.execute(statements.KNOWN, _keys(places)).all()
        events: dict[int, list[Row[Any]]] = {row.task_id: [] for row in rows}
        if rows:
            for row in self._connection.execute(statements.REQUESTS, {"ids": list(events)}):
                events[row.task_id].append(row)
        return {
            _key(row): Here(row.task_id, row.status, row.attempt, row.updated_at,
                            row.lease_until is not None, events[row.task_id])
            for row in rows
        }  # fmt: skip

    def bring_forward(self, some: Sequence[Further], tokens: Tokens) -> set[Key]:
        """Let tasks go on as they did there; the keys of those that porch has not changed."""
        paths = {f.here.task_id: (f.arrival.place, self._lines(f.path, f.arrival.place, tokens))
                 for f in some}  # fmt: skip
        if self._dry_run or not some:
            return {f.arrival.key for f in some}
        values = {
            "ids": [f.here.task_id for f in some],
            "seen": [f.here.status for f in some],
            "seen_attempts": [f.here.attempt for f in some],
            "seen_times": [f.here.updated_at for f in some],
            "statuses": [str(f.path.status) for f in some],
            "attempts": [f.path.attempt for f in some],
            "times": [f.path.steps[-1].at for f in some],
        }
        rows = self._connection.execute(statements.BRING_FORWARD, values)
        changed = {row.task_id for row in rows}
        self._note([(task_id, *paths[task_id]) for task_id in paths if task_id in changed])
        return {f.arrival.key for f in some if f.here.task_id in changed}

    def _lines(self, path: Path, place: Place, tokens: Tokens) -> list[_Line]:
        return [(step, *tokens.of(step, place, self)) for step in path.steps]

    def write(self, arrivals: Sequence[Arrival], tokens: Tokens) -> set[Key]:
        """Write tasks with their claims and events; the keys of those that were not here."""
        steps = [(a, self._lines(a.path, a.place, tokens)) for a in arrivals]
        if self._dry_run or not arrivals:
            return {arrival.key for arrival in arrivals}
        values = {
            **_keys(arrivals),
            "versions": [a.version for a in arrivals],
            "inputs": [a.identified.text for a in arrivals],
            "statuses": [str(a.path.status) for a in arrivals],
            "attempts": [a.path.attempt for a in arrivals],
            "created": [a.created for a in arrivals],
            "updated": [a.path.steps[-1].at for a in arrivals],
        }
        rows = self._connection.execute(statements.ADD_TASKS, values).all()
        numbers = {_key(row): row.task_id for row in rows}
        self._note([(numbers[a.key], a.place, path) for a, path in steps if a.key in numbers])
        return set(numbers)

    def _note(self, paths: Sequence[tuple[int, Place, list[_Line]]]) -> None:
        """Write events, and the claims among them."""
        lines = StringIO()
        claims: dict[str, list[Any]] = {"pipelines": [], "requests": [], "times": []}
        for task_id, place, path in paths:
            for step, token_id, message in path:
                before = step.from_status or "\\N"
                lines.write(
                    f"{task_id}\t{step.at.isoformat()}\t{before}\t{step.to_status}\t{step.attempt}"
                    f"\t{token_id}\t{step.request_id}\t{message.translate(_ESCAPES)}\n"
                )
                if step.to_status == "CLAIMED":
                    claims["pipelines"].append(place.pipeline_id)
                    claims["requests"].append(str(step.request_id))
                    claims["times"].append(step.at)
        lines.seek(0)
        self._connection.execute(statements.ADD_CLAIMS, claims)
        with closing(self._connection.connection.cursor()) as cursor:
            cursor.copy_expert(statements.COPY_EVENTS, lines)

    def _first(self, statement: Any, **values: Any) -> Row[Any] | None:
        return self._connection.execute(statement, values).first()

    def _write(self, statement: Any, **values: Any) -> int | None:
        """The number of a new row; None in a dry run."""
        if self._dry_run:
            return None
        return int(self._connection.execute(statement, values).scalar_one())


def _keys(arrivals: Sequence[Arrival]) -> dict[str, list[Any]]:
    return {
        "pipelines": [a.key[0] for a in arrivals],
        "scopes": [a.key[1] for a in arrivals],
        "keys": [a.key[2] for a in arrivals],
    }


def _key(row: Row[Any]) -> Key:
    return row.pipeline_id, row.scope, bytes(row.task_input_id)
