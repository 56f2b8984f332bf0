"""How an examination is summed up, and how clocks are compared."""

from __future__ import annotations

import pytest

from config.clocks import Reading, compared, reading
from config.doctor import as_text
from coordinator.health import MOST_SHOWN, Check, Finding, Health, Level

WARNED = Finding("it may be better", Level.WARNING)
WRONG = Finding("it is broken", look="porch show 12ab")


@pytest.mark.parametrize(
    ("findings", "level"),
    [([], Level.OK), ([WARNED], Level.WARNING), ([WARNED, WRONG], Level.WRONG)],
)
def test_a_check_is_as_bad_as_the_worst_that_it_found(
    findings: list[Finding], level: Level
) -> None:
    assert Check.of("c", {}, findings).level is level


def test_what_is_wrong_is_shown_before_any_number_of_warnings() -> None:
    check = Check.of("c", {}, [*[WARNED] * 9, WRONG])
    assert check.findings[0] == WRONG
    assert (len(check.findings), check.found) == (MOST_SHOWN, 10)


@pytest.mark.parametrize(
    ("checks", "healthy"),
    [
        ([Check.of("a", {}), Check.of("b", {}, [WARNED]), Check("c", skipped="no URL")], True),
        ([Check.of("a", {}), Check.of("b", {}, [WRONG])], False),
    ],
)
def test_only_what_is_wrong_is_unhealthy(checks: list[Check], healthy: bool) -> None:
    health = Health(tuple(checks), 0.5)
    assert health.healthy is healthy
    assert health.as_dict()["healthy"] is healthy


def test_what_is_wrong_can_be_read() -> None:
    health = Health((Check.of("keys", {"tasks": 12_345}, [WRONG] * 7, "keys fit"),), 1.0)
    assert as_text(health).splitlines() == [
        "WRONG    keys  keys fit: tasks 12,345",
        *["         - it is broken", "           porch show 12ab"] * MOST_SHOWN,
        "         - and 2 more",
        "",
        "NOT healthy: keys (1.0 s)",
    ]


def test_what_was_skipped_says_why() -> None:
    health = Health((Check("broker", skipped="no URL"),), 0.0)
    assert as_text(health).splitlines()[0] == "skipped  broker  no URL"


class TestClocks:
    HERE = Reading(0.0, 0.0)

    @pytest.mark.parametrize(("ahead", "word"), [(3.0, "ahead of"), (-3.0, "behind")])
    def test_one_that_is_wrong_is_a_warning(self, ahead: float, word: str) -> None:
        check = compared(self.HERE, {"worker a": Reading(ahead, 0.1), "worker b": self.HERE})
        assert check.level is Level.WARNING
        assert [one.what for one in check.findings] == [
            f"the clock of worker a is 3.0 s {word} PostgreSQL's"
        ]

    def test_postgresql_is_right_and_this_host_is_not(self) -> None:
        check = compared(Reading(60.0, 0.0), {"this host": self.HERE, "broker": Reading(60.0, 0.0)})
        assert check.looked_at == {"this host": -60.0, "broker": 0.0}
        assert check.found == 1

    def test_a_slow_answer_is_not_held_against_a_clock(self) -> None:
        assert compared(self.HERE, {"worker a": Reading(3.0, 1.5)}).level is Level.OK

    def test_a_clock_is_read_in_the_middle_of_the_round_trip(self) -> None:
        assert reading(100.0, 163.0, 106.0) == Reading(60.0, 3.0)
