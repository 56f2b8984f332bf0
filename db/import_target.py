"""The statements of an import: what is here already, and the writing of what is not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from io import StringIO
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError

from coordinator.errors import InternalError, PipelineExists, PorchError
from coordinator.identity import Identified
from coordinator.moving_over import Change, Path
from coordinator.reconciliation import Reconciliation
from db import import_statements as statements
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
    path: Path
    changes: list[Change]

    @property
    def key(self) -> Key:
        return self.place.pipeline_id, self.place.scope(self.version), self.identified.key


def landed(arrival: Arrival, requests: Collection[object]) -> bool:
    """Whether a task that is here has come from the source, by the events that it has."""
    return arrival.path.steps[0].request_id in requests


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
            place = Place(pipeline.pipeline_id, pipeline.name, new, "version")
        else:
            account["pipeline"].here += 1
            place = Place(pipeline.pipeline_id, pipeline.name, known.pipeline_id, known.identity)
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

    def known(self, arrivals: Sequence[Arrival]) -> dict[Key, set[object]]:
        """Those that are here, each with the request_ids of its events."""
        places = [a for a in arrivals if a.place.pipeline_id is not None]
        if not places:
            return {}
        rows = self._connection.execute(statements.KNOWN, _keys(places)).all()
        requests: dict[int, set[object]] = {row.task_id: set() for row in rows}
        if rows:
            for row in self._connection.execute(statements.REQUESTS, {"ids": list(requests)}):
                requests[row.task_id].add(row.request_id)
        return {_key(row): requests[row.task_id] for row in rows}

    def write(self, arrivals: Sequence[Arrival], tokens: Tokens) -> set[Key]:
        """Write tasks with their claims and events; the keys of those that were not here."""
        steps = [(a, [(s, *tokens.of(s, a.place, self)) for s in a.path.steps]) for a in arrivals]
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
        lines = StringIO()
        claims: dict[str, list[Any]] = {"pipelines": [], "requests": [], "times": []}
        for arrival, path in steps:
            task_id = numbers.get(arrival.key)
            for step, token_id, message in path if task_id is not None else ():
                before = step.from_status or "\\N"
                lines.write(
                    f"{task_id}\t{step.at.isoformat()}\t{before}\t{step.to_status}\t{step.attempt}"
                    f"\t{token_id}\t{step.request_id}\t{message.translate(_ESCAPES)}\n"
                )
                if step.to_status == "CLAIMED":
                    claims["pipelines"].append(arrival.place.pipeline_id)
                    claims["requests"].append(str(step.request_id))
                    claims["times"].append(step.at)
        lines.seek(0)
        self._connection.execute(statements.ADD_CLAIMS, claims)
        with closing(self._connection.connection.cursor()) as cursor:
            cursor.copy_expert(statements.COPY_EVENTS, lines)
        return set(numbers)

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
