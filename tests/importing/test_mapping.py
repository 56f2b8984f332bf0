"""Histories of npg_porch become paths in our table, whatever they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.checkup import Kept, Step, broken
from coordinator.identity import Limits, identify
from coordinator.moving_over import (
    Change,
    Path,
    Reached,
    furthest_first,
    path_from,
    path_of,
    status_of,
)
from coordinator.status import Status
from tests.importing.npg_porch import LIVES, changed

AT = datetime(2025, 3, 1, tzinfo=UTC)


def history(*texts: str | None) -> list[Change]:
    return [Change(n, AT + timedelta(minutes=n), t, 7) for n, t in enumerate(texts, 1)]


def path(state: str, *texts: str | None) -> Path:
    return path_of("p/1/x/1", Status(state), AT, history(*texts), None)


def statuses(some: Path) -> str:
    """The path, what was filled in in brackets."""
    return " ".join(f"[{s.to_status}]" if s.filled else str(s.to_status) for s in some.steps)


@pytest.mark.parametrize(("state", "life"), LIVES.items(), ids=LIVES)
def test_an_orderly_life_stays_as_it_is(state: str, life: list[str]) -> None:
    moved = path(state, *life)
    assert [(s.at, s.message, s.token_id, s.filled) for s in moved.steps] == [
        (change.at, change.text, 7, False) for change in history(*life)
    ]
    assert moved.status == state


JUMPS = {
    "running without a claim": (
        "RUNNING", ["Created", changed("RUNNING")], "PENDING [CLAIMED] RUNNING"),
    "done at once": ("DONE", ["Created", changed("DONE")], "PENDING [CLAIMED] DONE"),
    "done, and pending again": (
        "PENDING",
        [*LIVES["DONE"], changed("PENDING")],
        "PENDING CLAIMED RUNNING DONE PENDING",
    ),
    "failed, and running again": (
        "RUNNING",
        ["Created", "Task claimed", changed("FAILED"), changed("RUNNING")],
        "PENDING CLAIMED FAILED [PENDING] [CLAIMED] RUNNING",
    ),
    "claimed twice": (
        "CLAIMED",
        ["Created", "Task claimed", "Task claimed"],
        "PENDING CLAIMED [PENDING] CLAIMED",
    ),
    "a heartbeat": (
        "RUNNING", [*LIVES["RUNNING"], changed("RUNNING")], "PENDING CLAIMED RUNNING RUNNING"),
    "done twice": ("DONE", [*LIVES["DONE"], changed("DONE")], "PENDING CLAIMED RUNNING DONE"),
    "no creation": ("CLAIMED", ["Task claimed"], "[PENDING] CLAIMED"),
    "no events": ("PENDING", [], "[PENDING]"),
    "no events, and done": ("DONE", [], "[PENDING] [CLAIMED] [DONE]"),
    "a state that no event says": (
        "DONE", ["Created", "Task claimed"], "PENDING CLAIMED [DONE]"),
    "created last": ("CLAIMED", ["Task claimed", "Created"], "PENDING CLAIMED"),
    "created twice": ("PENDING", ["Created", "Created"], "PENDING"),
    "words of somebody": ("PENDING", ["Created", "hello", None], "PENDING"),
    "Python 3.12": (
        "CANCELLED", ["Created", changed("TaskStateEnum.CANCELLED")], "PENDING CANCELLED"),
}  # fmt: skip


@pytest.mark.parametrize(("state", "texts", "expected"), JUMPS.values(), ids=JUMPS)
def test_a_jump_is_filled_in(state: str, texts: list[str | None], expected: str) -> None:
    moved = path(state, *texts)
    assert statuses(moved) == expected
    assert len(texts) == sum(not s.filled for s in moved.steps) + moved.left_out.total()


def test_events_out_of_order_go_by_time() -> None:
    late, early = history("Created", "Task claimed")[1], Change(9, AT, "Created", 7)
    done = Change(1, AT + timedelta(hours=1), changed("DONE"), 7)
    moved = path_of("p/1/x/1", Status.DONE, AT, [done, late, early], None)
    assert statuses(moved) == "PENDING CLAIMED DONE"


def test_an_event_without_a_time_has_that_of_the_event_before() -> None:
    timeless = [change._replace(at=None) for change in history("Created", "Task claimed")]
    moved = path_of("p", Status.CLAIMED, AT, timeless, None)
    assert [step.at for step in moved.steps] == [AT, AT]


def test_what_is_filled_in_says_so_at_the_time_of_the_next_event() -> None:
    claim = path("RUNNING", "Created", changed("RUNNING")).steps[1]
    assert (claim.at, claim.token_id) == (AT + timedelta(minutes=2), 7)
    assert "filled in" in claim.message


def test_another_event_of_the_source_changes_no_request_before_it() -> None:
    before = path("RUNNING", *LIVES["RUNNING"]).steps
    after = path("DONE", *LIVES["DONE"]).steps
    assert [s.request_id for s in after[:3]] == [s.request_id for s in before]


def test_what_is_done_is_further_on_than_what_waits() -> None:
    assert sorted(Status, key=furthest_first)[0] is Status.DONE
    assert sorted(Status, key=furthest_first)[-1] is Status.PENDING


@pytest.mark.parametrize("state", [None, "", "done", "LOST", "name"])
def test_a_state_that_is_none(state: str | None) -> None:
    assert status_of(state) is None


TEXTS = st.sampled_from(
    ["Created", "Task claimed", "by hand", None, *(changed(status) for status in Status)]
)
CHANGES = st.lists(st.tuples(TEXTS, st.none() | st.integers(0, 50), st.integers(1, 3)), max_size=12)


@given(st.sampled_from(Status), CHANGES)
def test_any_history_becomes_a_path_that_the_doctor_finds_well(
    state: Status, changes: list[tuple[str | None, int | None, int]]
) -> None:
    given_changes = [
        Change(n, None if minute is None else AT + timedelta(minutes=minute), words, token)
        for n, (words, minute, token) in enumerate(changes, 1)
    ]
    moved = path_of("p/1/x/1", state, AT, given_changes, None)
    held = identify({"run": 1}, Limits())
    task = Kept(1, 1, "1", "1", held.key, held.text, state, moved.attempt, False, False)
    steps = [
        Step(n, 1, s.from_status, s.to_status, s.attempt, False, bool(s.message))
        for n, s in enumerate(moved.steps, 1)
    ]
    assert list(broken(task, "version", steps)) == []
    assert len(changes) == sum(not s.filled for s in moved.steps) + moved.left_out.total()
    once = {(s.request_id, s.to_status) for s in moved.steps}
    assert len(once) == len(moved.steps)
    assert path_of("p/1/x/1", state, AT, reversed(given_changes), None).steps == moved.steps


@given(st.lists(TEXTS, max_size=10), st.integers(1, 11))
def test_a_path_in_two_parts_is_the_path(texts: list[str | None], cut: int) -> None:
    changes = history("Created", *texts)

    def to(some: list[Change]) -> Path:
        steps = path_of("p", Status.PENDING, AT, some, None).steps
        end = [step for step in steps if not step.filled][-1].to_status
        return path_of("p", end, AT, some, None)

    early, whole = to(changes[:cut]), to(changes)
    last = early.steps[-1]
    requests = {step.request_id for step in early.steps}
    reached = Reached(last.at, last.to_status, last.attempt, requests)
    assert whole.status is not None
    later = path_from(reached, "p", whole.status, AT, changes)
    assert early.steps + later.steps == whole.steps
