"""The verbs of administrators: pipelines, their versions and policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from coordinator import access
from coordinator.errors import BadRequest, PipelineExists, VersionExists
from coordinator.lookup import Lookup
from coordinator.model import KEEP_ALL, Pipeline, PipelineLoad
from coordinator.naming import adding
from coordinator.requests import Caller, Policy, Unchanged
from coordinator.status import Status

_NAME_LENGTH = 200

#: Seconds. A message that comes again is judged by the events of what it did.
SHORTEST_KEPT = 86_400


class Administration(Lookup):
    """What administrators do, each with an admin token; anybody may look at the pipelines."""

    def check_admin(self, caller: Caller) -> None:
        """Raises Forbidden unless the caller has an admin token."""
        access.require_admin(self._enter(caller)[0])

    def register_pipeline(
        self, caller: Caller, name: str, *, uri: str, version: str, anew: bool = False
    ) -> PipelineLoad:
        """Add a pipeline. Raises PipelineExists if the name is that of a different one.

        The same again is no error, unless it is to be made ``anew``.
        """
        who, origin = self._enter(caller)
        access.require_admin(who)
        check_text("name", name)
        check_text("uri", uri, most=2_000)
        check_text("version", version)
        created = self.ledger.register_pipeline(name, uri, version, origin)
        load = self._load(name)
        known = load.pipeline
        same = known.uri == uri and version in known.versions
        if not same or (anew and not created):
            raise PipelineExists(
                f'pipeline "{name}" exists, with uri {known.uri} and '
                f"versions {', '.join(known.versions)}",
                f"to add a version: `{adding(name, version)}`",
            )
        return replace(load, created=created)

    def add_version(self, caller: Caller, name: str, version: str) -> PipelineLoad:
        """Add a version to a pipeline; adding it again is no error."""
        who, origin = self._enter(caller)
        access.require_admin(who)
        check_text("version", version)
        created = self.ledger.add_version(self._named(who, name), version, origin)
        return replace(self._load(name), created=created)

    def add_own_version(self, caller: Caller, name: str, version: str) -> Pipeline:
        """Add a version with the pipeline's own token. Raises VersionExists."""
        who, origin = self._enter(caller)
        target = self._own(who, name)
        check_text("version", version)
        if not self.ledger.add_version(target, version, origin):
            raise VersionExists(f'pipeline "{name}" has the version "{version}" already')
        return target

    def set_policy(self, caller: Caller, name: str, policy: Policy) -> PipelineLoad:
        """Set policies of a pipeline: identity, lease, max attempts, retry, and what is kept.

        Raises IdentityConflict, and BadRequest for a retry without a limit of attempts.
        """
        who, origin = self._enter(caller)
        access.require_admin(who)
        for word, value in policy.given().items():
            if isinstance(value, int) and not 1 <= value <= 2**31 - 1:
                raise BadRequest(
                    f"{word} of {value} is not within 1 and {2**31 - 1}", "or none at all"
                )
        if not isinstance(policy.keep, Unchanged):
            _check_keep(policy.keep)
        self.ledger.set_policy(self._named(who, name), policy, origin)
        return self._load(name)

    def pipelines(self, caller: Caller, name: str | None = None) -> list[PipelineLoad]:
        """All pipelines, or one, with their tasks counted. Any token may look."""
        who = self._onlooker(caller)
        if name is not None:
            self._named(who, name)
        return self.ledger.loads(name)

    def catalogue(self, caller: Caller, name: str | None = None) -> list[Pipeline]:
        """All pipelines, or one, without their tasks. Any token may look."""
        who = self._onlooker(caller)
        return self.ledger.pipelines() if name is None else [self._named(who, name)]

    def _load(self, name: str) -> PipelineLoad:
        (load,) = self.ledger.loads(name)
        return load


def _check_keep(given: Mapping[Status, int | None]) -> None:
    for status, seconds in given.items():
        if status not in KEEP_ALL.by_status():
            raise BadRequest(f"{status} work is never pruned", "say DONE, FAILED or CANCELLED")
        if seconds is not None and not SHORTEST_KEPT <= seconds <= 2**31 - 1:
            raise BadRequest(
                f"{status} work cannot be kept for {seconds} s",
                f"keep it for a day ({SHORTEST_KEPT} s) at least: messages may come again",
            )


def check_text(what: str, text: str, most: int = _NAME_LENGTH) -> None:
    """Raises BadRequest for what is not fit to be a name, or to be shown in a line."""
    if not text.strip() or text != text.strip() or not text.isprintable():
        raise BadRequest(
            f"{what} {text[:80]!r} is empty, or has spaces around it or unprintable characters",
            "give plain text",
        )
    if len(text) > most:
        raise BadRequest(f"{what} has {len(text)} characters", f"at most {most} are kept")
