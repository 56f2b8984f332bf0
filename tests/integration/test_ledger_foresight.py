"""What a submission would find: the bounds within which near tasks are sought."""

from __future__ import annotations

import pytest

from coordinator import foresight
from coordinator.model import Foreseen
from coordinator.nearness import MOST_COMPARED_BYTES
from coordinator.requests import Policy
from coordinator.service import Coordinator
from tests.factories import admin, caller, pipeline, submit


def seen(porch: Coordinator, secret: str, sent: object, **options: object) -> Foreseen:
    (answer,) = porch.foresee(caller(secret), [sent], nearest=True, **options)  # type: ignore[arg-type]
    assert isinstance(answer, Foreseen)
    return answer


def test_only_the_last_tasks_are_compared(
    porch: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "MOST_COMPARED", 2)
    _, secret = pipeline(porch)
    for run in range(4):
        submit(porch, secret, [{"run": run, "place": f"p{run}"}])
    late = seen(porch, secret, {"run": 9, "place": "p3"})
    assert late.near is not None
    assert late.near.task.task_input["run"] == 3
    early = seen(porch, secret, {"run": 9, "place": "p0"})
    assert (early.near, early.compared, early.complete) == (None, 2, False)


def test_large_inputs_are_not_compared(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    large = {"run": 1, "text": "x" * MOST_COMPARED_BYTES}
    submit(porch, secret, [large])
    other = seen(porch, secret, {"run": 1, "text": "y"})
    assert (other.near, other.compared, other.complete) == (None, 0, False)
    assert seen(porch, secret, {**large, "run": 2}).near is None


def test_another_version_is_another_scope_unless_the_policy_says_once(porch: Coordinator) -> None:
    name, secret = pipeline(porch, "1", "2")
    submit(porch, secret, [{"run": 1, "lane": 1}], version="1")
    for new in ({"run": "1", "lane": 1}, {"run": 1, "lane": 2}):
        assert seen(porch, secret, new, version="2").near is None
    assert seen(porch, secret, {"run": 1, "lane": 1}, version="2").status is None
    porch.set_policy(caller(admin(porch)), name, Policy.of({"identity": "pipeline"}))
    for new in ({"run": "1", "lane": 1}, {"run": 1, "lane": 2}):
        assert seen(porch, secret, new, version="2").near is not None
    assert seen(porch, secret, {"run": 1, "lane": 1}, version="2").status == "PENDING"


def test_a_task_of_another_pipeline_is_not_near(porch: Coordinator) -> None:
    _, mine = pipeline(porch)
    _, other = pipeline(porch)
    submit(porch, other, [{"run": 1, "lane": 1}])
    assert seen(porch, mine, {"run": "1", "lane": 1}).near is None
