"""The verb that tells what a submission would find, and registers nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from coordinator.errors import BadRequest, PorchError, TooSlow
from coordinator.identity import Identified, identified
from coordinator.lookup import Lookup
from coordinator.model import Foreseen, KeyRange, LookAlikes, Near, Pipeline, Task
from coordinator.naming import pick_version
from coordinator.nearness import MOST_COMPARED_BYTES, differences, variants
from coordinator.requests import Caller

#: The latest tasks of a pipeline with which new definitions are compared value by value.
MOST_COMPARED = 20_000


class Foresight(Lookup):
    """Which definitions are new, and to what the new ones are near."""

    def foresee(
        self,
        caller: Caller,
        definitions: Sequence[object],
        *,
        pipeline: str | None = None,
        version: str | None = None,
        nearest: bool = False,
    ) -> list[Foreseen | PorchError]:
        """How each definition stands, in order, or why it would be refused.

        ``nearest``: for a new one, the known one that differs from it only in the type of values;
        if there is none, one of the last MOST_COMPARED that differs in a single value.
        """
        who = self._onlooker(caller)
        target = self._look(who, pipeline)
        if target is None:
            raise BadRequest("of which pipeline?", "name it with `pipeline`")
        chosen = pick_version(target, version)
        answers = [identified(definition, self.limits) for definition in definitions]
        good = {answer.key: answer for answer in answers if isinstance(answer, Identified)}
        known = self.ledger.standing(target, chosen, list(good)) if good else {}
        new = [given for key, given in good.items() if key not in known]
        near = self._near(target, chosen, new) if nearest and new else {}
        return [
            near.get(a.key, Foreseen(a.key, known.get(a.key))) if isinstance(a, Identified) else a
            for a in answers
        ]

    def _near(
        self, target: Pipeline, version: str, new: Sequence[Identified]
    ) -> dict[bytes, Foreseen]:
        small = [given for given in new if len(given.text.encode()) <= MOST_COMPARED_BYTES]
        inputs = {given.key: json.loads(given.text) for given in small}
        alike = self._alike(target, version, inputs)
        rest = [given for given in small if given.key not in alike]
        looked = self._look_alikes(target, _scope(target, version), rest)
        by_id = {t.task_id: t for t in self.ledger.by_id(sorted({*looked.found.values()}))}
        for position, task_id in looked.found.items():
            if task_id in by_id:
                alike[rest[position].key] = by_id[task_id]
        near = {
            key: _judged(inputs[key], task, task.task_input)
            for key, task in alike.items()
            if task.task_input is not None
        }
        sought = {given.key for given in rest}
        return {
            given.key: Foreseen(
                given.key,
                None,
                near.get(given.key),
                looked.compared if given.key in sought else 0,
                looked.complete and given.key in sought,
            )
            for given in new
        }

    def _alike(
        self, target: Pipeline, version: str, inputs: dict[bytes, dict[str, Any]]
    ) -> dict[bytes, Task]:
        """What differs in type only has a key that can be computed: the unique index finds it."""
        keys: dict[bytes, list[bytes]] = {}
        for key, task_input in inputs.items():
            tried = (identified(variant, self.limits) for variant in variants(task_input))
            keys[key] = [other.key for other in tried if isinstance(other, Identified)]
        wanted = {other for others in keys.values() for other in others}
        known = self.ledger.standing(target, version, sorted(wanted)) if wanted else {}
        hits = {
            key: next(other for other in others if other in known)
            for key, others in keys.items()
            if not known.keys().isdisjoint(others)
        }
        scope = _scope(target, version)
        ranges = [KeyRange(other, other, scope) for other in hits.values()]
        found = self.ledger.find(target, ranges, 1) if ranges else []
        return {key: tasks[0] for key, tasks in zip(hits, found, strict=True) if tasks}

    def _look_alikes(
        self, target: Pipeline, version: str | None, rest: Sequence[Identified]
    ) -> LookAlikes:
        if not rest:
            return LookAlikes({}, 0, complete=False)
        try:
            texts = [given.text for given in rest]
            return self.ledger.look_alikes(target, version, texts, MOST_COMPARED)
        except TooSlow:  # nobody's submission should wait for what is a courtesy
            return LookAlikes({}, 0, complete=False)


def _scope(target: Pipeline, version: str) -> str | None:
    return version if target.identity == "version" else None


def _judged(ours: dict[str, Any], task: Task, theirs: dict[str, Any]) -> Near:
    found = differences(ours, theirs)
    return Near(task, "type" if all(found.values()) else "value", tuple(found))
