"""An operator's session, and what makes sure that a change is the operator's own wish.

The cookie holds the token itself. So every gateway process knows every session, none has to be
stored, and a token that is revoked ends its sessions at once. Scripts cannot read it (HttpOnly),
other sites cannot make a browser send it (SameSite=Strict), and the browser forgets it when it is
closed. Beside the token stands a number of the session's own, so that the proof in the forms of one
session is worth nothing in another.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal
from urllib.parse import urlsplit

from coordinator.errors import Forbidden

_COOKIE = re.compile(r"\A([0-9a-f]{32})\.([0-9a-f]{32})\Z")
#: Where a form may lead back to: the pages, and nothing that a browser takes for another site.
_PAGE = re.compile(r"\A/(?:\?[!-~]*|page/[!-~]*)?\Z")
Tone = Literal["good", "mixed", "bad"]
#: Browsers keep cookies of 4,096 bytes; the rest is for the name and its attributes.
_LONGEST_COOKIE = 3_500


@dataclass(frozen=True, slots=True)
class Session:
    """A token that was entered, and the number of the session in which that happened."""

    token: str = field(repr=False)
    number: str = field(repr=False)

    @classmethod
    def begin(cls, token: str) -> Session:
        """A new session."""
        return cls(token, secrets.token_hex(16))

    @classmethod
    def read(cls, cookie: str | None) -> Session | None:
        """The session that a cookie stands for, None if it stands for none."""
        found = _COOKIE.match(cookie or "")
        return cls(found[1], found[2]) if found else None

    @property
    def cookie(self) -> str:
        """What the cookie holds."""
        return f"{self.token}.{self.number}"

    @property
    def proof(self) -> str:
        """What each form of this session carries; other sites cannot know it."""
        return self._seal("form", b"")

    def is_proof(self, given: str) -> bool:
        """Whether a form is one of this session."""
        return hmac.compare_digest(self.proof.encode(), given.encode())

    def _seal(self, use: str, content: bytes) -> str:
        key = hmac.digest(self.cookie.encode(), f"porch pages: {use}".encode(), sha256)
        return hmac.new(key, content, sha256).hexdigest()

    def seal_said(self, said: Said) -> str:
        """What is to be said on the next page, as a cookie that nobody else can write."""
        lines = list(said.lines)
        while True:
            plain = json.dumps({"kind": said.kind, "text": said.text, "lines": lines}).encode()
            sealed = base64.urlsafe_b64encode(plain).decode()
            if len(sealed) <= _LONGEST_COOKIE or not lines:
                return f"{sealed}.{self._seal('said', sealed.encode())}"
            lines.pop()

    def open_said(self, cookie: str | None) -> Said | None:
        """What a cookie wants said; None unless this session has sealed it."""
        content, _, seal = (cookie or "").partition(".")
        expected = self._seal("said", content.encode())
        if not content or not hmac.compare_digest(expected.encode(), seal.encode()):
            return None
        found = json.loads(base64.urlsafe_b64decode(content))
        return Said(found["kind"], found["text"], tuple(found["lines"]))


@dataclass(frozen=True, slots=True)
class Said:
    """A message to the operator: what became of a wish, and the refusals one by one."""

    kind: Tone
    text: str
    lines: tuple[str, ...] = ()


def refuse_other_sites(headers: Mapping[str, str]) -> None:
    """Raises Forbidden for a change that another site has made the browser ask for.

    Browsers tell by Sec-Fetch-Site, older ones by Origin; what tells neither is no browser, and has
    a session only if its user gave it one.
    """
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    foreign = site is not None and site not in ("same-origin", "none")
    if origin is not None:
        # Only the host: behind a proxy that ends TLS, the scheme here is another one.
        foreign = foreign or urlsplit(origin).netloc != headers.get("host")
    if foreign:
        raise Forbidden(
            "this change was asked for from another site, or from a page at another address",
            "open porch's own page, and do it there",
        )


def require_proof(session: Session, given: str) -> None:
    """Raises Forbidden unless a form belongs to the session."""
    if not session.is_proof(given):
        raise Forbidden(
            "this form does not belong to your session: you have entered a token since it was "
            "loaded, or it comes from elsewhere",
            "load the page again, and decide anew",
        )


def page_path(given: str) -> str:
    """The page to go to after a form: the one it names, if it is one of ours."""
    return given if _PAGE.match(given) else "/"
