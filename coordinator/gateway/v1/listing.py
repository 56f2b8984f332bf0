"""A JSON list of tasks, of any length, in little memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain

from coordinator.errors import UnknownPipeline
from coordinator.model import Outline
from coordinator.requests import Caller, Search
from coordinator.service import Coordinator

#: Tasks in a page. Each page is a transaction of its own, so that none is held while a slow client
#: reads, and a chunk of the reply.
_PAGE = 2_000


def listing(porch: Coordinator, caller: Caller, search: Search) -> Iterator[bytes]:
    """The list in chunks. What is refused is refused at once, before there is a first chunk.

    A pipeline that there is not has no tasks.
    """
    try:
        first = porch.outlines(caller, search, after=0, limit=_PAGE)
    except UnknownPipeline:
        first = []
    return chain([b"["], _chunks(porch, caller, search, first), [b"]"])


def _chunks(
    porch: Coordinator, caller: Caller, search: Search, page: Sequence[Outline]
) -> Iterator[bytes]:
    heads: dict[tuple[str, str], str] = {}
    separator = ""
    while page:
        yield (separator + ",".join(_item(heads, outline) for outline in page)).encode()
        separator = ","
        page = porch.outlines(caller, search, after=page[-1].task_id, limit=_PAGE)


def _item(heads: dict[tuple[str, str], str], outline: Outline) -> str:
    """One task. Its input is written as it is kept, which is JSON; all the rest that is not of a
    known form is the same for all tasks of a version, and made once."""
    _, name, uri, version, key, task_input, status = outline
    head = heads.get((name, version))
    if head is None:
        pipeline = json.dumps({"name": name, "uri": uri, "version": version}, separators=(",", ":"))
        head = heads[name, version] = f'{{"pipeline":{pipeline},"task_input_id":"'
    return f'{head}{key}","task_input":{task_input},"status":"{status}"}}'
