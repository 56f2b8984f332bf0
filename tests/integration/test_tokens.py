"""Tokens: how they end, how they are replaced, when they were used; and what is noted of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import event, text

from config.wiring import issue_admin_token, make_coordinator
from coordinator.access import digest, new_secret
from coordinator.errors import (
    BadRequest,
    ExpiredToken,
    Forbidden,
    PorchError,
    RevokedToken,
    TokenEnded,
    TokenExists,
    UnknownTokenId,
)
from coordinator.model import AdminEvent, Rotation, Token
from coordinator.requests import Policy, Search
from coordinator.service import Coordinator
from tests.factories import admin, caller, definitions, pipeline, submit, unique

DAY = 86_400


def ask(porch: Coordinator, statement: str, **values: Any) -> Any:
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        result = connection.execute(text(statement), values)
        return result.all() if result.returns_rows else None


def let_tokens_age(porch: Coordinator, seconds: float) -> None:
    """To the ledger, which asks only PostgreSQL's clock, this is the same as waiting."""
    ask(
        porch,
        "UPDATE porch.token SET created_at = created_at - make_interval(secs => :s),"
        " expires_at = expires_at - make_interval(secs => :s),"
        " used_at = used_at - make_interval(secs => :s)",
        s=seconds,
    )


class Holder:
    """A pipeline, an administrator, and a token of the pipeline that is issued for some time."""

    def __init__(self, porch: Coordinator, lifetime: int | None) -> None:
        self.porch = porch
        self.name, _ = pipeline(porch)
        self.boss, self.secret = admin(porch), new_secret()
        self.token = porch.add_token(
            caller(self.boss),
            digest(self.secret),
            pipeline=self.name,
            description="farm",
            lifetime=lifetime,
        )

    def rotate(self, secret: str, token: Token | None = None, **more: Any) -> tuple[Token, Token]:
        given = {"overlap": DAY, **more}
        number = (token or self.token).token_id
        return self.porch.rotate_token(caller(self.boss), Rotation(number, digest(secret), **given))

    def may(self, secret: str) -> bool:
        try:
            self.porch.count(caller(secret), Search())
        except PorchError:
            return False
        return True


class TestExpiry:
    def test_a_token_is_good_until_it_expires(self, porch: Coordinator) -> None:
        holder = Holder(porch, 90 * DAY)
        let_tokens_age(porch, 90 * DAY - 60)
        assert holder.may(holder.secret)
        let_tokens_age(porch, 61)
        with pytest.raises(ExpiredToken, match='the token "farm" expired on 20') as refused:
            submit(porch, holder.secret, definitions(1))
        assert f"porch token issue --pipeline {holder.name}" in refused.value.cure

    def test_one_for_ever_does_not_expire(self, porch: Coordinator) -> None:
        holder = Holder(porch, None)
        let_tokens_age(porch, 10_000 * DAY)
        assert holder.may(holder.secret)

    def test_an_admin_token_expires_too(self, porch: Coordinator) -> None:
        boss, deputy = admin(porch), new_secret()
        porch.add_token(
            caller(boss), digest(deputy), pipeline=None, description="deputy", lifetime=60
        )
        let_tokens_age(porch, 61)
        with pytest.raises(ExpiredToken):
            porch.tokens(caller(deputy))

    def test_a_revoked_token_is_told_as_such_also_when_it_has_expired(
        self, porch: Coordinator
    ) -> None:
        holder = Holder(porch, 60)
        porch.revoke_token(caller(holder.boss), holder.token.token_id)
        let_tokens_age(porch, 61)
        with pytest.raises(RevokedToken):
            porch.count(caller(holder.secret), Search())

    def test_the_same_token_issued_again_keeps_its_end(self, porch: Coordinator) -> None:
        holder = Holder(porch, 60)
        again = porch.add_token(
            caller(holder.boss),
            digest(holder.secret),
            pipeline=holder.name,
            description="farm",
            lifetime=90 * DAY,
        )
        assert again.expires_at == holder.token.expires_at

    @pytest.mark.parametrize("lifetime", [0, -1, 2**31])
    def test_a_time_that_is_none_is_refused(self, porch: Coordinator, lifetime: int) -> None:
        with pytest.raises(BadRequest, match="expires"):
            Holder(porch, lifetime)


class TestRevocation:
    def test_a_token_is_worthless_with_the_next_request_of_every_process(
        self, porch: Coordinator, database_url: str
    ) -> None:
        holder, other = Holder(porch, None), make_coordinator(database_url)
        other.count(caller(holder.secret), Search())
        porch.revoke_token(caller(holder.boss), holder.token.token_id)
        with pytest.raises(RevokedToken):
            other.count(caller(holder.secret), Search())
        other.ledger.engine.dispose()  # type: ignore[attr-defined]


class TestRotation:
    def test_both_are_good_for_the_overlap_and_then_the_new_one(self, porch: Coordinator) -> None:
        holder, secret = Holder(porch, None), new_secret()
        new, old = holder.rotate(secret, overlap=DAY)
        assert (new.pipeline, new.description) == (holder.name, "farm")
        assert (old.token_id, old.replaced_by) == (holder.token.token_id, new.token_id)
        assert [holder.may(holder.secret), holder.may(secret)] == [True, True]
        let_tokens_age(porch, DAY + 1)
        assert [holder.may(holder.secret), holder.may(secret)] == [False, True]

    def test_the_new_one_has_the_lifetime_of_the_old(self, porch: Coordinator) -> None:
        holder = Holder(porch, 90 * DAY)
        let_tokens_age(porch, 80 * DAY)
        new, _ = holder.rotate(new_secret())
        assert new.expires_at is not None
        assert round((new.expires_at - new.created_at).total_seconds()) == 90 * DAY

    def test_or_the_one_that_is_asked_for(self, porch: Coordinator) -> None:
        new, _ = Holder(porch, None).rotate(new_secret(), lifetime=DAY)
        assert new.expires_at is not None
        assert round((new.expires_at - new.created_at).total_seconds()) == DAY

    def test_an_old_one_that_ends_before_the_overlap_does_so(self, porch: Coordinator) -> None:
        holder = Holder(porch, 3_600)
        _, old = holder.rotate(new_secret(), overlap=DAY)
        assert old.expires_at == holder.token.expires_at

    def test_the_same_again_is_answered_the_same(self, porch: Coordinator) -> None:
        holder, secret = Holder(porch, 90 * DAY), new_secret()
        assert holder.rotate(secret) == holder.rotate(secret)
        assert len(porch.tokens(caller(holder.boss), pipeline=holder.name)) == 3

    def test_an_administrator_may_rotate_its_own_and_ask_again(self, porch: Coordinator) -> None:
        boss, secret = admin(porch), new_secret()
        (own,) = porch.tokens(caller(boss))
        rotation = Rotation(own.token_id, digest(secret), 60)
        first = porch.rotate_token(caller(boss), rotation)
        assert porch.rotate_token(caller(boss), rotation) == first
        assert first[0].pipeline is None
        porch.tokens(caller(secret))

    def test_of_two_at_once_one_is_refused(self, porch: Coordinator, database_url: str) -> None:
        holder, together = Holder(porch, None), Barrier(2)

        def rotate(_: int) -> str:
            mine = make_coordinator(database_url)
            rotation = Rotation(holder.token.token_id, digest(new_secret()), DAY)
            together.wait()
            try:
                mine.rotate_token(caller(holder.boss), rotation)
            except TokenEnded as refused:
                return refused.code
            finally:
                mine.ledger.engine.dispose()  # type: ignore[attr-defined]
            return "rotated"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(rotate, range(2))) == ["rotated", "token_ended"]

    def test_a_token_that_is_replaced_is_not_replaced_again(self, porch: Coordinator) -> None:
        holder = Holder(porch, None)
        new, _ = holder.rotate(new_secret())
        with pytest.raises(TokenEnded, match=f"by token {new.token_id}"):
            holder.rotate(new_secret())
        holder.rotate(new_secret(), new)

    def test_a_revoked_token_is_not_replaced(self, porch: Coordinator) -> None:
        holder = Holder(porch, None)
        porch.revoke_token(caller(holder.boss), holder.token.token_id)
        with pytest.raises(TokenEnded):
            holder.rotate(new_secret())

    def test_a_secret_that_is_known_replaces_none(self, porch: Coordinator) -> None:
        holder = Holder(porch, None)
        with pytest.raises(TokenExists):
            holder.rotate(holder.boss)

    def test_what_cannot_be_is_refused(self, porch: Coordinator) -> None:
        holder = Holder(porch, None)
        nobody = replace(holder.token, token_id=10**9)
        with pytest.raises(UnknownTokenId):
            holder.rotate(new_secret(), nobody)
        with pytest.raises(BadRequest, match="overlap"):
            holder.rotate(new_secret(), overlap=59)
        rotation = Rotation(holder.token.token_id, digest(new_secret()), DAY)
        with pytest.raises(Forbidden):
            porch.rotate_token(caller(holder.secret), rotation)


class TestLastUse:
    def used(self, holder: Holder) -> Any:
        tokens = holder.porch.tokens(caller(holder.boss), pipeline=holder.name)
        return next(t.used_at for t in tokens if t.token_id == holder.token.token_id)

    def test_it_is_told_once_there_was_one(self, porch: Coordinator) -> None:
        holder = Holder(porch, None)
        assert self.used(holder) is None
        submit(porch, holder.secret, definitions(1))
        assert self.used(holder) is not None

    def test_it_is_written_once_in_five_minutes(self, porch: Coordinator) -> None:
        holder = Holder(porch, None)
        written: list[str] = []
        engine = porch.ledger.engine  # type: ignore[attr-defined]

        def note(*arguments: Any) -> None:
            if "SET used_at" in arguments[2]:
                written.append(arguments[2])

        event.listen(engine, "before_cursor_execute", note)
        for _ in range(20):
            porch.count(caller(holder.secret), Search())
        first = self.used(holder)
        assert len(written) == 1
        let_tokens_age(porch, 301)
        porch.count(caller(holder.secret), Search())
        assert self.used(holder) > first
        assert len(written) == 3  # the administrator's as well, who looks

    def test_a_token_that_is_refused_is_not_used(self, porch: Coordinator) -> None:
        holder = Holder(porch, 60)
        let_tokens_age(porch, 61)
        assert not holder.may(holder.secret)
        assert self.used(holder) is None

    def test_work_goes_on_while_it_cannot_be_noted(self, porch: Coordinator) -> None:
        holder = Holder(porch, None)
        lock = "SELECT FROM porch.token WHERE token_id = :n FOR UPDATE"
        with porch.ledger.engine.begin() as other:  # type: ignore[attr-defined]
            other.execute(text(lock), {"n": holder.token.token_id})
            assert holder.may(holder.secret)
        assert self.used(holder) is None


class TestAdminEvents:
    def events(self, porch: Coordinator, boss: str) -> list[AdminEvent]:
        return porch.admin_events(caller(boss), after=0, limit=1_000)

    def test_each_thing_that_is_done_leaves_one(self, porch: Coordinator) -> None:
        boss, name, secret = admin(porch), unique("p"), new_secret()
        porch.register_pipeline(caller(boss), name, uri="u", version="1")
        porch.add_version(caller(boss), name, "2")
        porch.set_policy(caller(boss), name, Policy(lease=60, max_attempts=3))
        token = porch.add_token(
            caller(boss), digest(secret), pipeline=name, description="farm", lifetime=60
        )
        rotation = Rotation(token.token_id, digest(new_secret()), 60)
        new, _ = porch.rotate_token(caller(boss), rotation)
        porch.revoke_token(caller(boss), token.token_id)
        by_hand, *found = self.events(porch, boss)
        assert (by_hand.action, by_hand.token_id) == ("issue_token", None)
        assert [(e.action, e.subject_id, e.detail) for e in found] == [
            ("register", None, {"uri": "u", "version": "1"}),
            ("add_version", None, {"version": "2"}),
            ("set_policy", None, {"lease_seconds": [None, 60], "max_attempts": [None, 3]}),
            ("issue_token", token.token_id, {"description": "farm", "lifetime": 60}),
            ("rotate_token", token.token_id, {"overlap": 60, "replaced_by": new.token_id}),
            ("revoke_token", token.token_id, {}),
        ]
        assert {(e.token, e.host, e.pipeline) for e in found} == {("test admin", "test-host", name)}
        assert [e.at for e in found] == sorted(e.at for e in found)

    def test_what_comes_again_or_changes_nothing_leaves_none(self, porch: Coordinator) -> None:
        boss, name, secret = admin(porch), unique("p"), new_secret()
        who = caller(boss)
        deeds: list[Callable[[Any], Any]] = [
            lambda who: porch.register_pipeline(who, name, uri="u", version="1"),
            lambda who: porch.add_version(who, name, "2"),
            lambda who: porch.set_policy(who, name, Policy(lease=60)),
            lambda who: porch.add_token(who, digest(secret), pipeline=name, description="farm"),
        ]
        for deed in deeds:
            deed(who)
        token = porch.tokens(who, pipeline=name)[0].token_id
        rotation = Rotation(token, digest(new_secret()), 60)
        deeds += [
            lambda who: porch.rotate_token(who, rotation),
            lambda who: porch.revoke_token(who, token),
        ]
        for deed in deeds:
            deed(who)
        before = self.events(porch, boss)
        assert len(before) == 7
        for deed in deeds:
            deed(who)
            deed(caller(boss))
        assert self.events(porch, boss) == before

    def test_a_version_that_a_pipelines_own_token_adds_is_noted(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch)
        porch.add_own_version(caller(secret), name, "2")
        *_, last = self.events(porch, admin(porch))[:-1]
        assert (last.action, last.token) == ("add_version", "test token")

    def test_what_is_done_with_the_database_is_noted_without_a_token(
        self, porch: Coordinator, database_url: str
    ) -> None:
        boss = issue_admin_token(database_url, "first")
        (found,) = self.events(porch, boss)
        assert (found.action, found.token_id, found.detail["description"]) == (
            "issue_token",
            None,
            "first",
        )
        assert found.host

    def test_they_come_in_pages(self, porch: Coordinator) -> None:
        boss = admin(porch)
        for _ in range(4):
            admin(porch)
        first = porch.admin_events(caller(boss), after=0, limit=3)
        rest = porch.admin_events(caller(boss), after=first[-1].admin_event_id, limit=3)
        assert (len(first), len(rest)) == (3, 2)
        with pytest.raises(BadRequest):
            porch.admin_events(caller(boss), after=0, limit=0)

    def test_a_pipelines_token_does_not_see_them(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        with pytest.raises(Forbidden):
            porch.admin_events(caller(secret), after=0, limit=1)

    def test_no_secret_is_in_them(self, porch: Coordinator) -> None:
        holder, secret = Holder(porch, None), new_secret()
        holder.rotate(secret)
        dumped = str(ask(porch, "SELECT e.*, e.detail::text FROM porch.admin_event e"))
        for one in (holder.boss, holder.secret, secret):
            assert one not in dumped
            assert digest(one).hex() not in dumped
