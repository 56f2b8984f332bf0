"""The alerts and the dashboard: of the form that Prometheus wants, and leading somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.house import needs
from tests.metrics.monitoring import ROOT, RULES, dashboard_queries, rules

UNIT_TESTS = Path(__file__).parent / "porch.test.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"


def promtool(*argv: str) -> None:
    done = subprocess.run(
        [needs("promtool", package="prometheus"), *argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_the_alerts() -> None:
    promtool("check", "rules", str(RULES))


def test_prometheus_understands_its_configuration() -> None:
    config = ROOT / "config" / "prometheus" / "prometheus.yml"
    promtool("check", "config", "--syntax-only", str(config))
    assert yaml.safe_load(config.read_text())["rule_files"] == ["/etc/prometheus/*.rules.yml"]


def test_each_alert_comes_when_it_should_and_not_otherwise() -> None:
    promtool("test", "rules", str(UNIT_TESTS))


def test_each_alert_is_tested_both_ways() -> None:
    fires: set[str] = set()
    stays: set[str] = set()
    for history in yaml.safe_load(UNIT_TESTS.read_text())["tests"]:
        for one in history["alert_rule_test"]:
            (fires if one.get("exp_alerts") else stays).add(one["alertname"])
    assert fires == stays == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_a_section_of_the_runbook(rule: dict[str, dict[str, str]]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert ROOT / page == RUNBOOK
    headings = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert anchor in {slug(heading) for heading in headings}


def slug(heading: str) -> str:
    """As pages on the web name a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def test_prometheus_understands_each_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = dashboard_queries()
    assert len(queries) > 20
    recorded = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(queries)]
    groups = {"groups": [{"name": "dashboard", "rules": recorded}]}
    path = tmp_path / "dashboard.rules.yml"
    path.write_text(yaml.safe_dump(groups))
    promtool("check", "rules", str(path))
