"""The addresses of the pages: each parses, calls the Coordinator, and shows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from coordinator.errors import AccessDenied, BadRequest, MissingToken
from coordinator.gateway import guessing
from coordinator.gateway.callers import Porch
from coordinator.gateway.pages import acting, charts, refusals, render, shapes
from coordinator.gateway.pages.cures import in_a_line
from coordinator.gateway.pages.session import (
    Said,
    Session,
    page_path,
    refuse_other_sites,
    require_proof,
)
from coordinator.gateway.pages.wanted import wanted
from coordinator.model import Permission
from coordinator.operations import request_id, tell
from coordinator.requests import Caller, Name
from coordinator.service import Coordinator

router = APIRouter(include_in_schema=False, route_class=refusals.PageRoute)

Text = Annotated[str, Form()]
_ROWS = 50


def _as_session(request: Request, session: Session | None) -> Caller:
    host = request.client.host if request.client else None
    return Caller(session.token if session else None, request_id(), host)


def _reader(request: Request, porch: Coordinator) -> Caller:
    """Who looks: anybody where that is so set, else the session. A session does not narrow it."""
    return _as_session(request, None if porch.open_reads else render.session_of(request))


def _holder(request: Request, porch: Coordinator) -> Permission | None:
    """What the session's token allows; None where there is none, or it is worth nothing now."""
    session = render.session_of(request)
    try:
        return porch.recognise(_as_session(request, session)) if session else None
    except AccessDenied as refusal:
        guessing.note(request, refusal)
        return None


def _own_form(request: Request, proof: Text = "") -> Session:
    """The session whose form this is. Raises MissingToken, Forbidden."""
    refuse_other_sites(request.headers)
    session = render.session_of(request)
    if session is None:
        raise MissingToken("no token has been entered in this session", "enter one")
    require_proof(session, proof)
    return session


OwnForm = Annotated[Session, Depends(_own_form)]


@router.get("/")
def overview(request: Request, porch: Porch) -> Response:
    """Tasks, counts, charts and failures."""
    asked = wanted(request.query_params)
    who, view = _reader(request, porch), asked.view
    counts = porch.counts(who)
    tiles = shapes.tiles(counts, view.pipeline)
    return render.page(
        request,
        "overview.html",
        here="tasks",
        holder=_holder(request, porch),
        asked=asked,
        found=porch.page(who, view, after=asked.after, limit=_ROWS),
        chosen=shapes.Chosen.of,
        counts=counts,
        tiles=tiles,
        throughput=charts.throughput(
            porch.throughput(who, pipeline=view.pipeline, hours=asked.hours)
        ),
        run_times=charts.run_times(porch.run_times(who)),
        alike=shapes.Alike.of,
        groups=porch.failure_groups(who, pipeline=view.pipeline),
        partly=shapes.is_partly_grouped(tiles),
    )


@router.get("/page/task")
def one_task(
    request: Request, porch: Porch, id: str = "", pipeline: str = "", version: str = ""
) -> Response:
    """A task with all that has happened to it."""
    task, events = porch.show(
        _reader(request, porch), Name(id, version or None), pipeline=pipeline or None
    )
    return render.page(
        request,
        "task.html",
        holder=_holder(request, porch),
        task=task,
        events=events,
        attempts=shapes.attempts(events),
        chosen=shapes.Chosen.of(task),
        allowed=shapes.verbs_for(task.status),
    )


@router.post("/page/act")
def act(
    request: Request,
    porch: Porch,
    session: OwnForm,
    verb: Text = "",
    task: Annotated[list[str] | None, Form()] = None,
    reason: Text = "",
    force: Text = "",
    back: Text = "/",
) -> Response:
    """Re-run, cancel or release the tasks that were selected."""
    if verb not in shapes.VERBS:
        raise BadRequest("the form does not say what to do", "load the page again")
    chosen = [shapes.Chosen.read(given) for given in task or ()]
    who = _as_session(request, session)
    said = acting.act(porch, who, verb, chosen, reason.strip() or None, force=force == "yes")
    return render.go_to(request, page_path(back), session, said)


@router.post("/page/rerun-failures")
def rerun_failures(
    request: Request,
    porch: Porch,
    session: OwnForm,
    group: Text = "",
    reason: Text = "",
    back: Text = "/",
) -> Response:
    """Re-run every task of a group of failures."""
    alike = shapes.Alike.read(group)
    who = _as_session(request, session)
    try:
        said = acting.rerun_failures(porch, who, alike, reason.strip() or None)
    except acting.REFUSALS as refusal:
        said = Said("bad", "Nothing was re-run", (in_a_line(refusal),))
    return render.go_to(request, page_path(back), session, said)


@router.get("/session")
def session_form(request: Request, porch: Porch, back: str = "/") -> Response:
    """The form into which a token is entered."""
    holder = _holder(request, porch)
    return render.page(request, "session.html", here="session", holder=holder, back=page_path(back))


@router.post("/session")
def begin_session(request: Request, porch: Porch, token: Text = "", back: Text = "/") -> Response:
    """Begin a session with a token, if it is good."""
    refuse_other_sites(request.headers)
    session = Session.begin(token.strip())
    try:
        holder = porch.recognise(_as_session(request, session))
    except AccessDenied as refusal:
        guessing.note(request, refusal)
        tell(outcome=refusal.code)
        return render.page(
            request, "session.html", 403, here="session", back=page_path(back), refusal=refusal
        )
    of = f'pipeline "{holder.pipeline.name}"' if holder.pipeline else "administration"
    said = Said("good", f'Token "{holder.description}" for {of} is in use')
    reply = render.go_to(request, page_path(back), session, said)
    render.keep(request, reply, "session", session.cookie)
    return reply


@router.post("/session/end")
def end_session(request: Request, _: OwnForm) -> Response:
    """Forget the token."""
    reply = RedirectResponse("/session", 303)
    render.forget(request, reply, "session")
    return reply


@router.get("/page/{rest:path}")
def no_page(rest: str) -> Response:
    """Any other address of ours."""
    raise HTTPException(404, f"there is no page /page/{rest[:80]}")
