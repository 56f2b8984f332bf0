"""The methods of `Porch` for administrators: pipelines, policies and tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from porch_client.looking import Looking
from porch_client.model import AdminEvent, Pipeline, Token
from porch_client.request_ids import new_request_id


class Unchanged:
    """Says of a policy: leave it as it is."""


UNCHANGED = Unchanged()


class Administering(Looking):
    """What takes an admin token."""

    def register_pipeline(self, name: str, *, uri: str, version: str) -> Pipeline:
        """Add a pipeline (admin). The same again is no error.

        Raises Conflict (``pipeline_exists``) where the name stands for another.
        """
        body = {"pipeline": name, "uri": uri, "version": version}
        return self._pipelines("register_pipeline", body)[0]

    def add_version(self, name: str, version: str) -> Pipeline:
        """Add a version to a pipeline (admin). The same again is no error."""
        return self._pipelines("add_version", {"pipeline": name, "version": version})[0]

    def set_policy(
        self,
        name: str,
        *,
        lease: int | Unchanged | None = UNCHANGED,
        max_attempts: int | Unchanged | None = UNCHANGED,
        retry: int | Unchanged | None = UNCHANGED,
        identity: str | Unchanged = UNCHANGED,
        keep: Mapping[str, int | None] | Unchanged = UNCHANGED,
    ) -> Pipeline:
        """Set policies of a pipeline (admin); None for none. Those left out stay as they are.

        ``lease`` and ``retry`` (the wait before the second attempt, doubled with each) in seconds.
        ``keep``: by status, the seconds for which inputs and histories of tasks that ended so are
        kept; statuses that are left out stay as they are.
        """
        given = {
            "lease": lease,
            "max_attempts": max_attempts,
            "retry": retry,
            "identity": identity,
            "keep": keep,
        }
        body = {word: value for word, value in given.items() if not isinstance(value, Unchanged)}
        return self._pipelines("set_policy", {"pipeline": name, **body})[0]

    def issue_token(
        self, *, pipeline: str | None, description: str, expires: int | None = None
    ) -> tuple[Token, str]:
        """A new token and its secret (admin); no pipeline makes it an admin token.

        ``expires``: the seconds for which it is good, None for ever. The secret is made here, and
        only its SHA-256 travels, sealed: nobody can ask for it again.
        """
        secret, request_id, digest = self._new_secret()
        body: dict[str, Any] = {
            "pipeline": pipeline,
            "digest": digest,
            "description": description,
        }
        if expires is not None:  # a coordinator of before there was this refuses the word
            body["expires"] = expires
        return self._tokens("issue_token", body, request_id)[0], secret

    def rotate_token(
        self, token_id: int, *, overlap: int = 7 * 86_400, expires: int | None = None
    ) -> tuple[Token, str, Token]:
        """A new token in the place of one (admin): the new one, its secret, and the old one.

        The old one is good for ``overlap`` seconds yet, 60 at least; the new one for ``expires``
        seconds, or (None) for as long as the old one was meant to be.
        """
        secret, request_id, digest = self._new_secret()
        body = {"token_id": token_id, "digest": digest, "overlap": overlap, "expires": expires}
        new, old = self._tokens("rotate_token", body, request_id)
        return new, secret, old

    def tokens(self, *, pipeline: str | None = None) -> Sequence[Token]:
        """The tokens of a pipeline, or all (admin); never their secrets."""
        return self._tokens("tokens", {"pipeline": pipeline})

    def revoke_token(self, token_id: int) -> Token:
        """Make a token worthless from now on (admin). Raises NotFound."""
        return self._tokens("revoke_token", {"token_id": token_id})[0]

    def admin_events(self) -> Iterator[AdminEvent]:
        """What administrators did, oldest first (admin)."""
        after: int | None = 0
        while after is not None:
            answer = self._ask("admin_events", "porch.query", {"after": after})
            yield from map(AdminEvent.from_wire, answer["events"])
            after = answer["next"]

    def _tokens(
        self, verb: str, body: Mapping[str, Any], request_id: str | None = None
    ) -> Sequence[Token]:
        answer = self._ask(verb, "porch.query", body, request_id=request_id)
        return [Token.from_wire(sent) for sent in answer["tokens"]]

    def _new_secret(self) -> tuple[str, str, str]:
        """128 random bits, the request that will make them a token, and their sealed SHA-256."""
        secret, request_id = os.urandom(16).hex(), new_request_id()
        digest = sha256(secret.encode()).digest()
        return secret, request_id, self._channel.sealed(request_id, digest)
