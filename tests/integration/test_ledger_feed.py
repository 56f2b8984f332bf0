"""The feed: whoever follows it hears of every committed change, in order, and of nothing else."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, text

from config.wiring import make_coordinator
from coordinator.errors import AccessDenied, BadRequest, NotFound
from coordinator.messages import MOST_CHARACTERS, FeedPage, StatusMessage, Wanted
from coordinator.requests import Name, Report
from coordinator.service import Coordinator
from coordinator.status import Status
from db.feed import read_page
from tests.factories import admin, caller, definitions, pipeline, submit

S = Status

#: A change as a worker writes it, in a transaction that is not over yet.
_SUBMIT = text(
    """
    WITH t AS (
        INSERT INTO porch.task (pipeline_id, version, scope, task_input_id, task_input)
        SELECT pipeline_id, '1.0', '1.0', sha256(CAST(:key AS bytea)), '{}'
        FROM porch.pipeline WHERE name = :pipeline
        RETURNING task_id
    )
    INSERT INTO porch.event (task_id, to_status, attempt, request_id)
    SELECT task_id, 'PENDING', 0, gen_random_uuid() FROM t
    RETURNING event_id
    """
)


@pytest.fixture
def engine(porch: Coordinator) -> Engine:
    """Somebody else's way into the database."""
    engine: Engine = make_coordinator(
        porch.ledger.engine.url.render_as_string(hide_password=False),  # type: ignore[attr-defined]
        connections=3,
    ).ledger.engine  # type: ignore[attr-defined]
    return engine


@pytest.fixture
def others(engine: Engine) -> Iterator[tuple[Connection, Connection]]:
    with engine.connect() as first, engine.connect() as second:
        yield first, second
    engine.dispose()


def write(connection: Connection, name: str, key: str) -> int:
    return int(connection.execute(_SUBMIT, {"pipeline": name, "key": key}).scalar_one())


def page(porch: Coordinator, secret: str, after: int | None, **more: object) -> FeedPage:
    return porch.feed(caller(secret), after=after, **more)[0]  # type: ignore[arg-type]


def ids(porch: Coordinator, secret: str, after: int | None = 0, **more: object) -> list[int]:
    return [message.event_id for message in page(porch, secret, after, **more).messages]


class TestWhatIsNotCommittedYet:
    def test_is_waited_for_also_by_what_came_later(
        self, porch: Coordinator, others: tuple[Connection, Connection]
    ) -> None:
        name, secret = pipeline(porch)
        slow, quick = others
        first, second = write(slow, name, "slow"), write(quick, name, "quick")
        assert first < second
        quick.commit()
        early = page(porch, secret, 0)
        assert (early.messages, early.next < first) == ([], True)
        slow.commit()
        assert ids(porch, secret, early.next) == [first, second]

    def test_and_never_will_be_is_not_waited_for(
        self, porch: Coordinator, others: tuple[Connection, Connection]
    ) -> None:
        name, secret = pipeline(porch)
        slow, quick = others
        write(slow, name, "slow")
        second = write(quick, name, "quick")
        quick.commit()
        slow.rollback()
        assert ids(porch, secret) == [second]

    def test_holds_nothing_up_where_it_is_no_change_of_a_task(
        self, porch: Coordinator, others: tuple[Connection, Connection]
    ) -> None:
        name, secret = pipeline(porch)
        stranger, quick = others
        stranger.execute(text("CREATE TABLE porch.elsewhere AS SELECT 1"))
        stranger.execute(text("SELECT count(*) FROM porch.event"))
        written = write(quick, name, "quick")
        quick.commit()
        assert ids(porch, secret) == [written]

    def test_holds_up_nothing_that_was_settled_before(
        self, porch: Coordinator, others: tuple[Connection, Connection]
    ) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(2))
        slow, _ = others
        settled = page(porch, secret, None).next
        write(slow, name, "slow")
        note = text("INSERT INTO porch.feed_position (name, event_id) VALUES ('x', :settled)")
        with slow.engine.begin() as relay:
            relay.execute(note, {"settled": settled})
        assert len(ids(porch, secret)) == 2


class TestAPage:
    def test_begins_where_the_last_one_ended(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(5))
        first = page(porch, secret, 0, limit=3)
        second = page(porch, secret, first.next, limit=3)
        assert [len(first.messages), first.more] == [3, True]
        assert [len(second.messages), second.more] == [2, False]
        assert page(porch, secret, second.next).messages == []

    def test_of_no_place_is_empty_and_says_where_the_feed_ends(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(2))
        now = page(porch, secret, None)
        submit(porch, secret, definitions(1))
        assert now.messages == []
        assert len(ids(porch, secret, now.next)) == 1

    def test_of_one_task_does_not_look_at_the_others(
        self, porch: Coordinator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("coordinator.feed.LOOKED_AT", 5)
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(20))
        (task,) = porch.claim(caller(secret), 1)
        told = page(porch, secret, 0, task=task.task_input_id)
        assert [m.to_status for m in told.messages] == [S.PENDING, S.CLAIMED]
        assert not told.more
        assert page(porch, secret, told.next, task=task.task_input_id).messages == []

    def test_tells_each_change_as_it_was(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1, job_id="j1")
        failed = Report(Name(task.task_input_id, attempt=1), S.FAILED, message="x" * 2_000)
        porch.update(caller(secret), [failed])
        told = page(porch, secret, 0).messages
        assert [(m.from_status, m.to_status, m.attempt) for m in told] == [
            (None, S.PENDING, 0),
            (S.PENDING, S.CLAIMED, 1),
            (S.CLAIMED, S.FAILED, 1),
        ]
        assert {(m.pipeline, m.version, m.task_input_id, m.token, m.host) for m in told} == {
            (name, "1.0", task.task_input_id, "test token", "test-host")
        }
        assert told[1].job_id == "j1"
        assert told[2].message == "x" * (MOST_CHARACTERS - 1) + "…"

    def test_has_only_what_is_asked_for(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(3))
        (task,) = porch.claim(caller(secret), 1)
        assert len(ids(porch, secret, statuses=[S.CLAIMED])) == 1
        assert len(ids(porch, secret, task=task.task_input_id)) == 2
        assert ids(porch, secret, task=task.task_input_id, statuses=[S.DONE]) == []

    def test_goes_on_behind_what_is_of_others(
        self, porch: Coordinator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, secret = pipeline(porch)
        _, other = pipeline(porch)
        submit(porch, other, definitions(7))
        submit(porch, secret, definitions(1))
        monkeypatch.setattr("coordinator.feed.LOOKED_AT", 4)
        first = page(porch, secret, 0)
        assert (first.messages, first.more) == ([], True)
        assert len(page(porch, secret, first.next).messages) == 1


def test_a_page_of_a_long_backlog_reads_no_more_than_it_tells(
    porch: Coordinator, engine: Engine
) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(2_000))
    with engine.connect() as connection:
        connection.execute(text("ANALYZE porch.event, porch.task"))
        after = connection.execute(text("SELECT max(event_id) FROM porch.event")).scalar_one()
        connection.commit()
        for _ in range(4):  # of which the planner knows nothing
            submit(porch, secret, definitions(2_000))
        read_page(connection, Wanted(), after, after + 10_000, 10_000, 100)
        read = connection.execute(
            text(
                "SELECT relname, seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables "
                "WHERE relname IN ('event', 'task')"
            )
        )
        assert {name: n for name, n in read if n > 150} == {}
    engine.dispose()


class TestWhoMayFollow:
    def test_a_token_hears_of_its_own_pipeline_only(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch)
        _, stranger = pipeline(porch)
        submit(porch, secret, definitions(2))
        assert ids(porch, stranger) == []
        with pytest.raises(AccessDenied):
            page(porch, stranger, 0, pipeline=name)

    def test_an_administrator_hears_of_all_or_one(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch)
        _, other = pipeline(porch)
        submit(porch, secret, definitions(2))
        submit(porch, other, definitions(1))
        boss = admin(porch)
        assert (len(ids(porch, boss)), len(ids(porch, boss, pipeline=name))) == (3, 2)

    def test_what_is_not_there_is_told(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        with pytest.raises(NotFound):
            page(porch, secret, 0, task="0" * 64)
        with pytest.raises(BadRequest):
            page(porch, secret, 0, limit=1_001)


def test_racing_writers_leave_no_reader_with_a_gap(porch: Coordinator, database_url: str) -> None:
    """Many transactions commit out of order; a reader that has only its place misses nothing."""
    _, secret = pipeline(porch)
    over = threading.Event()

    def work() -> None:
        mine = make_coordinator(database_url)
        for _ in range(12):
            submit(mine, secret, definitions(5))
            for task in mine.claim(caller(secret), 5):
                name = Name(task.task_input_id, attempt=task.attempt)
                mine.update(caller(secret), [Report(name, S.RUNNING), Report(name, S.DONE)])
        mine.ledger.engine.dispose()  # type: ignore[attr-defined]

    def follow() -> list[StatusMessage]:
        mine, told, place, last = make_coordinator(database_url), [], 0, False
        while True:
            found = page(mine, secret, place, limit=37)
            told += found.messages
            place = found.next
            if last and not found.more:
                mine.ledger.engine.dispose()  # type: ignore[attr-defined]
                return told
            last = over.is_set()

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(follow) for _ in range(2)]
        for writer in [pool.submit(work) for _ in range(6)]:
            writer.result()
        over.set()
        heard = [reader.result() for reader in readers]
    all_of_it = ids(porch, secret)
    rest = page(porch, secret, all_of_it[-1]) if len(all_of_it) == 1_000 else None
    if rest:
        all_of_it += [message.event_id for message in rest.messages]
    for told in heard:
        assert [message.event_id for message in told] == all_of_it
        paths: dict[str, list[Status | None]] = defaultdict(lambda: [None])
        for message in told:
            assert paths[message.task_input_id][-1] == message.from_status
            paths[message.task_input_id].append(message.to_status)
