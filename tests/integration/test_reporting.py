"""Reports of many callers in one transaction: judged as if they came one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sqlalchemy import text

from config.doctor import as_text, examine
from coordinator.access import digest, new_secret
from coordinator.errors import LedgerAway, PorchError, RevokedToken
from coordinator.model import Event, Task
from coordinator.reporting import Updated
from coordinator.requests import Caller, Name, Policy, Report, Reported, Search, Seen, Updating
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definitions, pipeline, rerun, submit

S = Status
TASKS = 4
#: Two pipelines, each with two tokens; and what is no good: a revoked one, an administrator's, ...
WHO = ("first", "second", "other", "revoked", "admin", "nobody", "nonsense", "none")
_LONG = "long"
_WORDS = [None, None, "exit 1", "disk\0 full \udc80", _LONG]


@dataclass(frozen=True)
class Said:
    """A report as drawn. ``task``: by number, in the pipeline of ``where``."""

    task: int
    status: Status
    attempt: int | None
    message: str | None
    job_id: str | None
    permanent: bool
    digits: int
    where: str


@dataclass(frozen=True)
class Asked:
    """A request as drawn: whose, by which name, of which pipeline, and its reports."""

    who: str
    request: int
    names: str | None
    said: tuple[Said, ...]


@dataclass(frozen=True)
class Between:
    """What happens to a task between two batches."""

    task: int
    where: str
    what: str


def saids() -> some.SearchStrategy[Said]:
    return some.builds(
        Said,
        task=some.sampled_from([0, 0, 0, 1, 1, 2, 3, 9]),
        status=some.sampled_from([S.RUNNING, S.RUNNING, S.DONE, S.FAILED, S.FAILED, S.CANCELLED]),
        attempt=some.sampled_from([1, 1, 1, 2, 2, None, None, 0, 3]),
        message=some.sampled_from(_WORDS),
        job_id=some.sampled_from([None, "4711"]),
        permanent=some.booleans(),
        digits=some.sampled_from([64, 64, 64, 12, 3]),
        where=some.sampled_from(["own", "own", "own", "other"]),
    )


def askeds() -> some.SearchStrategy[Asked]:
    return some.builds(
        Asked,
        who=some.sampled_from(["first"] * 4 + ["second"] * 3 + ["other"] * 2 + list(WHO)),
        # Few, so that a request comes again, and another under its name.
        request=some.integers(0, 4),
        names=some.sampled_from([None, None, None, "own", "other", "there is none"]),
        said=some.lists(saids(), min_size=0, max_size=3).map(tuple),
    )


STEPS = some.lists(
    some.one_of(
        some.lists(askeds(), min_size=2, max_size=8),
        some.builds(
            Between,
            task=some.integers(0, TASKS - 1),
            where=some.sampled_from(["own", "other"]),
            what=some.sampled_from(["release and claim", "release", "rerun"]),
        ),
    ),
    min_size=1,
    max_size=6,
)


class World:
    """Two pipelines with claimed tasks: all that is asked of one can be asked of another."""

    def __init__(self, porch: Coordinator, policy: Policy, requests: Sequence[UUID]) -> None:
        self.porch, self.requests = porch, requests
        boss = admin(porch)
        mine, first = pipeline(porch)
        yours, other = pipeline(porch)
        second, revoked = new_secret(), new_secret()
        porch.add_token(caller(boss), digest(second), pipeline=mine, description="second")
        token = porch.add_token(caller(boss), digest(revoked), pipeline=mine, description="gone")
        porch.revoke_token(caller(boss), token.token_id)
        self.names = {"own": mine, "other": yours}
        self.secrets: dict[str, str | None] = {
            "first": first,
            "second": second,
            "other": other,
            "revoked": revoked,
            "admin": boss,
            "nobody": "0" * 32,
            "nonsense": "nonsense",
            "none": None,
        }
        self.tasks: dict[str, list[Task]] = {}
        for where, secret in (("own", first), ("other", other)):
            submit(porch, secret, [{"n": n, "where": where} for n in range(TASKS)])
            porch.set_policy(caller(boss), self.names[where], policy)
            # The last one stays PENDING.
            porch.claim(caller(secret), TASKS - 1)
            self.tasks[where] = porch.tasks(caller(secret), Search(), after=0, limit=9)

    def asked(self, one: Asked) -> Updating:
        """The request, in this world's names."""
        own = "other" if one.who == "other" else "own"
        who = Caller(self.secrets[one.who], self.requests[one.request], f"host-{one.who}")
        named = None if one.names is None else self.names.get(one.names, one.names)
        return Updating(who, [self._report(said, own) for said in one.said], named)

    def _report(self, said: Said, own: str) -> Report:
        tasks = self.tasks[own if said.where == "own" else "other"]
        key = tasks[said.task].task_input_id if said.task < TASKS else "f" * 64
        name = Name(key[: said.digits], attempt=said.attempt)
        message = said.message if said.message != _LONG else "x" * 9_000
        return Report(name, said.status, message, said.job_id, said.permanent)

    def between(self, one: Between) -> None:
        secret = self.secrets["first" if one.where == "own" else "other"]
        name = Name(self.tasks[one.where][one.task].task_input_id)
        task, _ = self.porch.show(caller(secret), name)
        if one.what == "rerun" and task.status in (S.FAILED, S.CANCELLED):
            rerun(self.porch, caller(secret), name, Seen(task.status, task.attempt))
        if one.what != "rerun":
            self.porch.release(caller(secret), [name])
        if one.what == "release and claim":
            self.porch.claim(caller(secret), 1)

    def told(self, answer: Updated | PorchError | None) -> Any:
        """An answer, without what differs between worlds: the names of pipelines."""
        if isinstance(answer, PorchError):
            return self._plain(answer)
        assert answer is not None
        verdicts = [a if isinstance(a, Reported) else self._plain(a) for a in answer.answers]
        return self._anonymous(answer.pipeline.name), verdicts

    def _plain(self, error: PorchError) -> tuple[str, str, str]:
        if isinstance(error, RevokedToken):  # which tells when
            return error.code, "", error.cure
        return error.code, self._anonymous(error.message), self._anonymous(error.cure)

    def _anonymous(self, said: str) -> str:
        for where, name in self.names.items():
            said = said.replace(name, where)
        return said

    def state(self) -> list[Any]:
        """All that is kept of the tasks but for when, and their numbers."""
        found = []
        for where, tasks in sorted(self.tasks.items()):
            secret = self.secrets["first" if where == "own" else "other"]
            for one in tasks:
                task, events = self.porch.show(caller(secret), Name(one.task_input_id))
                found.append(
                    (
                        *(where, task.key, task.status, task.attempt, task.job_id),
                        *(task.lease_until is None, task.retry_at is None),
                        [_untimed(event) for event in events],
                    )
                )
        return found


def _untimed(event: Event) -> tuple[Any, ...]:
    change = (event.from_status, event.to_status, event.attempt, event.refused)
    return (*change, event.token, event.host, event.message, event.job_id)


@pytest.mark.parametrize("policy", [Policy(), Policy("version", 3_600, 2, 60)], ids=["", "leased"])
def test_together_is_as_one_after_the_other(
    porch: Coordinator, database_url: str, policy: Policy
) -> None:
    seen: set[str] = set()

    @settings(max_examples=30, deadline=None, derandomize=True, database=None)
    @given(steps=STEPS)
    def check(steps: list[list[Asked] | Between]) -> None:
        requests = [uuid4() for _ in range(5)]
        together, alone = (World(porch, policy, requests) for _ in range(2))
        for step in steps:
            if isinstance(step, Between):
                together.between(step)
                alone.between(step)
                continue
            answers = porch.update_all([together.asked(one) for one in step])
            expected = [porch.update_all([alone.asked(one)])[0] for one in step]
            assert [together.told(a) for a in answers] == [alone.told(a) for a in expected]
            seen.update(code for answer in answers for code in said(answer))
        assert together.state() == alone.state()

    check()
    # It was about something.
    assert seen >= {
        *("changed", "holds", "illegal_change", "stale_attempt", "unknown_task", "bad_request"),
        *("unknown_token", "missing_token", "revoked_token", "forbidden", "unknown_pipeline"),
    }
    assert ("attempt_needed" in seen) == (policy.given().get("lease") is not None)
    health = examine(database_url)
    assert health.healthy, as_text(health)


def said(answer: Updated | PorchError | None) -> list[str]:
    """An answer in a word for each report, or in one for all."""
    if isinstance(answer, PorchError):
        return [answer.code]
    if answer is None:
        return ["left out"]
    return [
        one.code if isinstance(one, PorchError) else "changed" if one.changed else "holds"
        for one in answer.answers
    ]


class TestWhatOthersChange:
    @pytest.fixture
    def secret(self, porch: Coordinator) -> str:
        return pipeline(porch)[1]

    @pytest.fixture
    def keys(self, porch: Coordinator, secret: str) -> list[str]:
        keys = submit(porch, secret, definitions(4))
        porch.claim(caller(secret), 4)
        return keys

    def test_is_left_out_and_keeps_nobody_waiting(
        self, porch: Coordinator, secret: str, keys: list[str]
    ) -> None:
        asked = [done(secret, key) for key in keys]
        with in_hand(porch, keys[1]):
            told = [said(answer) for answer in porch.update_all(asked)]
        assert told == [["changed"], ["left out"], ["changed"], ["changed"]]
        assert said(porch.update_all(asked[1:2])[0]) == ["changed"]
        assert porch.count(caller(secret), Search()) == {"DONE": 4}

    def test_leaves_out_all_of_a_request(
        self, porch: Coordinator, secret: str, keys: list[str]
    ) -> None:
        asked = [done(secret, *keys[:3]), done(secret, keys[3])]
        with in_hand(porch, keys[1]):
            told = [said(answer) for answer in porch.update_all(asked)]
        assert told == [["left out"], ["changed"]]
        assert porch.count(caller(secret), Search()) == {"DONE": 1, "CLAIMED": 3}

    def test_leaves_out_what_comes_after_it(
        self, porch: Coordinator, secret: str, keys: list[str]
    ) -> None:
        running = replace(done(secret), reports=[Report(Name(keys[0], attempt=1), S.RUNNING)])
        asked = [running, done(secret, *keys[:2]), done(secret, keys[0]), done(secret, keys[2])]
        with in_hand(porch, keys[1]):
            told = [said(answer) for answer in porch.update_all(asked)]
        assert told == [["changed"], ["left out"], ["left out"], ["changed"]]
        assert porch.count(caller(secret), Search()) == {"RUNNING": 1, "DONE": 1, "CLAIMED": 2}

    def test_does_not_keep_a_refusal_waiting(
        self, porch: Coordinator, secret: str, keys: list[str]
    ) -> None:
        asked = [done("0" * 32, keys[0]), done(secret, "f" * 64), done(secret)]
        with in_hand(porch, keys[0]):
            told = [said(answer) for answer in porch.update_all(asked)]
        assert told == [["unknown_token"], ["unknown_task"], []]

    def test_is_waited_for_by_who_is_alone(
        self, porch: Coordinator, secret: str, keys: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("db.engine._BOUNDS", "SET LOCAL lock_timeout = 50; ")
        with in_hand(porch, keys[0]), pytest.raises(LedgerAway):
            porch.update_all([done(secret, keys[0])])


def done(secret: str, *keys: str) -> Updating:
    """A request that reports these tasks DONE."""
    return Updating(caller(secret), [Report(Name(key, attempt=1), S.DONE) for key in keys])


@contextmanager
def in_hand(porch: Coordinator, key: str) -> Iterator[None]:
    """Somebody else is just changing the task."""
    lock = text("SELECT FROM porch.task WHERE task_input_id = :key FOR NO KEY UPDATE")
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(lock, {"key": bytes.fromhex(key)})
        yield
