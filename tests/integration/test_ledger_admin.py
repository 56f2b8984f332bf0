"""Pipelines, policies and tokens."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from coordinator.access import digest, new_secret
from coordinator.errors import (
    BadRequest,
    Forbidden,
    IdentityConflict,
    MissingToken,
    PipelineExists,
    RevokedToken,
    TokenExists,
    UnknownPipeline,
    UnknownToken,
    UnknownTokenId,
)
from coordinator.model import Standing
from coordinator.requests import Policy, Search
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definition, definitions, finish, pipeline, submit, unique

URI = "https://example.org/p"


class TestPipelines:
    def test_the_same_registration_again_is_no_error(self, porch: Coordinator) -> None:
        boss, name = admin(porch), unique("p")
        first = porch.register_pipeline(caller(boss), name, uri=URI, version="1")
        assert porch.register_pipeline(caller(boss), name, uri=URI, version="1") == first

    @pytest.mark.parametrize(("uri", "version"), [("https://else.org", "1"), (URI, "2")])
    def test_another_registration_of_a_name_is_refused(
        self, porch: Coordinator, uri: str, version: str
    ) -> None:
        boss, name = admin(porch), unique("p")
        porch.register_pipeline(caller(boss), name, uri=URI, version="1")
        with pytest.raises(PipelineExists):
            porch.register_pipeline(caller(boss), name, uri=uri, version=version)

    def test_a_registration_that_comes_again_is_told_again_that_it_made_it(
        self, porch: Coordinator
    ) -> None:
        who, name = caller(admin(porch)), unique("p")
        for _ in range(2):
            assert porch.register_pipeline(who, name, uri=URI, version="1").created
            assert porch.add_version(who, name, "2").created
        other = caller(who.secret)
        assert not porch.register_pipeline(other, name, uri=URI, version="1").created
        assert not porch.add_version(other, name, "2").created

    def test_versions_come_in_the_order_in_which_they_were_added(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch, "2", "10", "1")
        (load,) = porch.pipelines(caller(admin(porch)), name)
        assert load.pipeline.versions == ("2", "10", "1")

    def test_a_version_may_be_added_twice(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        boss = admin(porch)
        for _ in range(2):
            load = porch.add_version(caller(boss), name, "2.0")
        assert load.pipeline.versions == ("1.0", "2.0")

    def test_a_version_of_no_pipeline_is_refused(self, porch: Coordinator) -> None:
        with pytest.raises(UnknownPipeline):
            porch.add_version(caller(admin(porch)), "nowhere", "1")

    @pytest.mark.parametrize("name", ["", " ", " x", "x\n", "a\0b", "x" * 201, "\ud800"])
    def test_a_name_that_is_none_is_refused(self, porch: Coordinator, name: str) -> None:
        with pytest.raises(BadRequest, match="name"):
            porch.register_pipeline(caller(admin(porch)), name, uri=URI, version="1")

    def test_tasks_are_counted_per_status(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch)
        submit(porch, secret, definitions(3))
        finish(porch, secret, Status.DONE)
        (load,) = porch.pipelines(caller(secret), name)
        assert load.counts == {Status.PENDING: 2, Status.DONE: 1}
        assert load.oldest_pending is not None
        assert 0 <= load.oldest_pending < 60

    def test_a_pipeline_without_pending_tasks_has_no_oldest(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch)
        (load,) = porch.pipelines(caller(secret), name)
        assert (load.counts, load.oldest_pending) == ({}, None)


class TestPolicies:
    def test_what_is_not_given_stays(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        boss = admin(porch)
        porch.set_policy(caller(boss), name, Policy(lease=60, max_attempts=3))
        load = porch.set_policy(caller(boss), name, Policy(lease=None))
        assert (load.pipeline.lease, load.pipeline.max_attempts) == (None, 3)

    def test_a_request_that_comes_again_undoes_nothing_that_was_set_since(
        self, porch: Coordinator
    ) -> None:
        name, _ = pipeline(porch)
        boss = admin(porch)
        first = caller(boss)
        porch.set_policy(first, name, Policy(lease=60))
        porch.set_policy(caller(boss), name, Policy(lease=3_600))
        load = porch.set_policy(first, name, Policy(lease=60))
        assert load.pipeline.lease == 3_600

    def test_nor_does_one_that_changed_nothing_at_first(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        boss = admin(porch)
        porch.set_policy(caller(boss), name, Policy(lease=60))
        again = caller(boss)
        porch.set_policy(again, name, Policy(lease=60))
        porch.set_policy(caller(boss), name, Policy(lease=3_600))
        load = porch.set_policy(again, name, Policy(lease=60))
        assert load.pipeline.lease == 3_600

    @pytest.mark.parametrize("policy", [Policy(lease=0), Policy(max_attempts=2**31)])
    def test_a_bound_that_is_none_is_refused(self, porch: Coordinator, policy: Policy) -> None:
        name, _ = pipeline(porch)
        with pytest.raises(BadRequest):
            porch.set_policy(caller(admin(porch)), name, policy)

    def test_the_identity_policy_reaches_tasks_that_exist(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch, "1.0", "2.0")
        given = definition()
        submit(porch, secret, [given], version="1.0")
        porch.set_policy(caller(admin(porch)), name, Policy(identity="pipeline"))
        (answer,) = porch.submit(caller(secret), [given], version="2.0")
        assert isinstance(answer, Standing)
        assert not answer.created

    def test_the_identity_policy_goes_back(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch, "1.0", "2.0")
        boss, given = admin(porch), definition()
        porch.set_policy(caller(boss), name, Policy(identity="pipeline"))
        submit(porch, secret, [given], version="1.0")
        porch.set_policy(caller(boss), name, Policy(identity="version"))
        (same,) = porch.submit(caller(secret), [given], version="1.0")
        (other,) = porch.submit(caller(secret), [given], version="2.0")
        assert isinstance(same, Standing)
        assert isinstance(other, Standing)
        assert (same.created, other.created) == (False, True)

    def test_a_policy_that_would_make_one_task_of_two_is_refused_and_changes_nothing(
        self, porch: Coordinator
    ) -> None:
        name, secret = pipeline(porch, "1.0", "2.0")
        boss, given = admin(porch), definition()
        for version in ("1.0", "2.0"):
            submit(porch, secret, [given], version=version)
        with pytest.raises(IdentityConflict):
            porch.set_policy(caller(boss), name, Policy(identity="pipeline", lease=60))
        (load,) = porch.pipelines(caller(boss), name)
        assert (load.pipeline.identity, load.pipeline.lease) == ("version", None)


class TestTokens:
    def test_no_token_is_refused(self, porch: Coordinator) -> None:
        with pytest.raises(MissingToken):
            porch.pipelines(caller(None))

    def test_a_token_that_was_never_issued_is_refused(self, porch: Coordinator) -> None:
        with pytest.raises(UnknownToken):
            porch.pipelines(caller(new_secret()))

    def test_a_revoked_token_is_refused(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch)
        boss = admin(porch)
        (token,) = porch.tokens(caller(boss), pipeline=name)
        porch.revoke_token(caller(boss), token.token_id)
        with pytest.raises(RevokedToken, match="test token"):
            porch.claim(caller(secret), 1)

    def test_revoking_again_keeps_the_first_time(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        boss = admin(porch)
        (token,) = porch.tokens(caller(boss), pipeline=name)
        first = porch.revoke_token(caller(boss), token.token_id)
        assert porch.revoke_token(caller(boss), token.token_id) == first

    def test_a_number_that_no_token_has_is_refused(self, porch: Coordinator) -> None:
        with pytest.raises(UnknownTokenId):
            porch.revoke_token(caller(admin(porch)), 10**9)

    def test_the_same_token_again_is_the_same(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        boss, secret = admin(porch), digest(new_secret())
        first = porch.add_token(caller(boss), secret, pipeline=name, description="farm")
        again = porch.add_token(caller(boss), secret, pipeline=name, description="farm")
        assert first == again

    def test_one_secret_is_not_for_two_pipelines(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        other, _ = pipeline(porch)
        boss, secret = admin(porch), digest(new_secret())
        porch.add_token(caller(boss), secret, pipeline=name, description="farm")
        with pytest.raises(TokenExists):
            porch.add_token(caller(boss), secret, pipeline=other, description="farm")

    def test_what_is_no_digest_is_refused(self, porch: Coordinator) -> None:
        with pytest.raises(BadRequest, match="32 bytes"):
            porch.add_token(caller(admin(porch)), b"x", pipeline=None, description="d")

    def test_secrets_are_nowhere_in_the_database(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        with porch.ledger.engine.connect() as connection:  # type: ignore[attr-defined]
            dumped = [
                str(connection.execute(text(f"SELECT * FROM porch.{table}")).all())
                for table in ("token", "task", "event", "claim", "pipeline")
            ]
        assert not any(secret in table for table in dumped)

    @pytest.mark.parametrize("verb", ["register", "version", "policy", "tokens", "issue", "revoke"])
    def test_a_pipeline_token_does_not_administer(self, porch: Coordinator, verb: str) -> None:
        name, secret = pipeline(porch)
        who, token = caller(secret), digest(new_secret())
        verbs = {
            "register": lambda: porch.register_pipeline(who, unique("p"), uri=URI, version="1"),
            "version": lambda: porch.add_version(who, name, "2"),
            "policy": lambda: porch.set_policy(who, name, Policy(lease=1)),
            "tokens": lambda: porch.tokens(who, pipeline=name),
            "issue": lambda: porch.add_token(who, token, pipeline=name, description="d"),
            "revoke": lambda: porch.revoke_token(who, 1),
        }
        with pytest.raises(Forbidden):
            verbs[verb]()

    def test_an_admin_token_does_not_submit(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        with pytest.raises(Forbidden):
            porch.submit(caller(admin(porch)), [definition()], pipeline=name)

    def test_an_admin_token_looks_at_all_pipelines(self, porch: Coordinator) -> None:
        for _ in range(2):
            _, secret = pipeline(porch)
            submit(porch, secret, definitions(1))
        assert porch.count(caller(admin(porch)), Search()) == {"PENDING": 2}
