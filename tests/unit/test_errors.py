"""The tree of errors, and what of it travels to the client."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import porch_client.errors as client
from coordinator import errors
from coordinator.errors import PorchError

#: Scripts rely on these. A code that is here may never change; a new one is added.
CODES = {
    "BadInput": "bad_input",
    "BadRequest": "bad_request",
    "UnknownWire": "unknown_wire_version",
    "NotAnObject": "not_an_object",
    "NotRepresentable": "not_representable",
    "AttemptNeeded": "attempt_needed",
    "TooDeep": "too_deep",
    "TooLarge": "too_large",
    "AccessDenied": "access_denied",
    "MissingToken": "missing_token",
    "UnknownToken": "unknown_token",
    "RevokedToken": "revoked_token",
    "ExpiredToken": "expired_token",
    "Forbidden": "forbidden",
    "NotFound": "not_found",
    "UnknownPipeline": "unknown_pipeline",
    "UnknownVersion": "unknown_version",
    "WhichVersion": "which_version",
    "UnknownTask": "unknown_task",
    "AmbiguousTask": "ambiguous_task",
    "UnknownTokenId": "unknown_token_id",
    "Conflict": "conflict",
    "PipelineExists": "pipeline_exists",
    "VersionExists": "version_exists",
    "TokenExists": "token_exists",
    "TokenEnded": "token_ended",
    "IdentityConflict": "identity_conflict",
    "IllegalChange": "illegal_change",
    "StaleAttempt": "stale_attempt",
    "StatusChanged": "status_changed",
    "TaskPruned": "task_pruned",
    "ForceNeeded": "force_needed",
    "ReasonNeeded": "reason_needed",
    "LedgerAway": "database_away",
    "TooSlow": "too_slow",
    "InternalError": "internal_error",
}


def tree(kind: type[PorchError], depth: int = 0) -> Iterator[tuple[int, type[PorchError]]]:
    """The classes of coordinator.errors below ``kind``, each with its depth."""
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield depth, below
            yield from tree(below, depth + 1)


KINDS = [kind for _, kind in tree(PorchError)]


def test_the_codes_are_the_ones_that_scripts_rely_on() -> None:
    assert {kind.__name__: kind.code for kind in KINDS} == CODES


def test_no_two_errors_share_a_code() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = re.findall(r"^([│ ]*)[├└]── (\w+) +(\w+)", errors.__doc__ or "", re.MULTILINE)
    assert [(len(indent) // 4, name, code) for indent, name, code in drawn] == [
        (depth, kind.__name__, kind.code) for depth, kind in tree(PorchError)
    ]


def test_an_error_says_its_code_what_was_wrong_and_what_to_do() -> None:
    error = errors.UnknownTask('no task "x"', "see `porch list`")
    assert str(error) == 'unknown_task: no task "x"; see `porch list`'
    assert error.as_wire() == {
        "code": "unknown_task",
        "message": 'no task "x"',
        "cure": "see `porch list`",
    }


#: Parents are never raised themselves.
LEAVES = [kind for kind in KINDS if not kind.__subclasses__()]


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.code)
def test_the_client_rebuilds_each_error_as_the_kind_it_is(kind: type[PorchError]) -> None:
    rebuilt = client.from_wire(kind("what", "cure").as_wire())
    names = {parent.__name__ for parent in type(rebuilt).__mro__}
    expected = {"LedgerAway": "DatabaseAway", "TooSlow": "Refused", "InternalError": "Refused"}.get(
        kind.__name__, kind.__bases__[0].__name__
    )
    assert expected in names
    assert (rebuilt.code, rebuilt.message, rebuilt.cure) == (kind.code, "what", "cure")


def test_the_client_takes_a_code_that_it_does_not_know_yet() -> None:
    assert type(client.from_wire({"code": "brand_new"})) is client.Refused


def test_the_clients_tree_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"^[│ ]*[├└]── ([A-Z]\w+)", client.__doc__ or "", re.MULTILINE)
    real = [name for name, thing in vars(client).items() if _is_error(thing)]
    assert sorted(drawn) == sorted(real)


def _is_error(thing: object) -> bool:
    root = client.PorchError
    return isinstance(thing, type) and issubclass(thing, root) and thing is not root
