"""The alerts, the dashboard and the page of metrics, as data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
METRICS = ROOT / "docs" / "metrics.md"
RULES = ROOT / "config" / "prometheus" / "porch.rules.yml"
DASHBOARD = ROOT / "config" / "grafana" / "porch.json"


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    return [r for group in yaml.safe_load(RULES.read_text())["groups"] for r in group["rules"]]


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, with Grafana's own words replaced as Grafana would."""
    queries = list(_queries(json.loads(DASHBOARD.read_text())))
    return [q.replace("$__rate_interval", "1m").replace("$pipeline", ".*") for q in queries]


def _queries(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "expr" in part:
            yield part["expr"]
        if part.get("type") == "query":
            yield re.sub(r"label_values\((\w+), \w+\)", r"\1", part["definition"])
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _queries(one)


def metrics_in(query: str) -> set[str]:
    """The metrics of porch that a query names."""
    return set(re.findall(r"\bporch_\w+", query))


def documented() -> dict[str, str]:
    """Each metric in the page's tables, and what kind it is."""
    rows = re.findall(r"^\| `(porch_\w+)`[^|]*\| (\w+) \|", METRICS.read_text(), re.MULTILINE)
    assert len(rows) == len({name for name, _ in rows})
    return dict(rows)
