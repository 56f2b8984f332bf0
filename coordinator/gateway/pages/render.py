"""From a template and what it shows to a reply."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from coordinator.gateway.pages import charts, cures, shapes, wanted, words
from coordinator.gateway.pages.session import Said, Session
from coordinator.overview import GROUPED
from coordinator.status import Status

STATIC = Path(__file__).parent / "static"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        # Whatever is shown is text, unless a template itself is HTML.
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        symbol=words.symbol,
        utc=words.utc,
        iso=words.iso,
        duration=words.duration,
        number=words.number,
        tasks=words.tasks,
        cut=words.cut,
        cure=cures.cure,
        sentence=words.sentence,
        short=charts.short,
        one_line=words.one_line,
        whole=words.whole,
        task_href=wanted.task_href,
    )
    made.globals.update(
        Status=Status,
        kinds=wanted.KINDS,
        all_hours=wanted.HOURS,
        verbs=shapes.VERBS,
        chart=charts,
        most_grouped=GROUPED,
        # A browser keeps what it has loaded: other content has another address.
        style=f"/page/static/porch.css?{_version('porch.css')}",
        script=f"/page/static/porch.js?{_version('porch.js')}",
    )
    return made


def _shown(value: object) -> object:
    """A text with nothing in it that is not seen; what is HTML already has been through this.

    A name that a form sends back goes through ``|e``, which leaves it as it is.
    """
    return words.seen(value) if type(value) is str else value


def _version(file: str) -> str:
    return sha256((STATIC / file).read_bytes()).hexdigest()[:12]


templates = _environment()


def page(request: Request, template: str, status: int = 200, **shown: Any) -> HTMLResponse:
    """A page. What was to be said on it is said, and then forgotten."""
    session = session_of(request)
    said = shown.pop("said", None)
    cookie = request.cookies.get(_name(request, "said"))
    if said is None and session is not None:
        said = session.open_said(cookie)
    base = {"session": session, "said": said, "here": None}
    text = templates.get_template(template).render({**base, **shown})
    reply = HTMLResponse(text, status, headers={"Cache-Control": "no-store"})
    if cookie is not None:
        forget(request, reply, "said")
    return reply


def go_to(request: Request, path: str, session: Session, said: Said) -> Response:
    """Send the browser to a page, which says what has become of a form."""
    reply = RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})
    keep(request, reply, "said", session.seal_said(said))
    return reply


def session_of(request: Request) -> Session | None:
    """The session in which a page was asked for."""
    return Session.read(request.cookies.get(_name(request, "session")))


def keep(request: Request, reply: Response, word: str, value: str) -> None:
    """Let the browser keep a cookie until it is closed: away from scripts and other sites."""
    reply.set_cookie(_name(request, word), value, **_attributes(request))


def forget(request: Request, reply: Response, word: str) -> None:
    """Let the browser forget a cookie."""
    reply.delete_cookie(_name(request, word), **_attributes(request))


def _attributes(request: Request) -> Mapping[str, Any]:
    secure = request.url.scheme == "https"
    return {"path": "/", "httponly": True, "samesite": "strict", "secure": secure}


def _name(request: Request, word: str) -> str:
    """The prefix makes browsers refuse a cookie that a neighbouring site has planted."""
    prefix = "__Host-" if request.url.scheme == "https" else ""
    return f"{prefix}porch_{word}"
