"""The example for Kubernetes: of its schema, shut in, and running what docker-compose.yml does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.settings import refuse_unknown
from tests.deploy.engine import ROOT, configuration, project

FOLDER = ROOT / "docs" / "deploy" / "kubernetes"
MANIFESTS = [
    manifest
    for path in sorted(FOLDER.glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]
PODS = {
    manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
    for manifest in MANIFESTS
    if manifest["kind"] in {"Deployment", "Job"}
}


def named(manifest: Any) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


@pytest.fixture(scope="module")
def folder(scratch: Callable[[str], Path]) -> Path:
    return project(scratch("manifests") / "porch")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=named)
def test_a_manifest_is_of_its_schema(manifest: Any) -> None:
    kubernetes_validate.validate(manifest, "1.37", strict=True)
    assert manifest["metadata"].get("namespace", "porch") == "porch"


@pytest.mark.parametrize("name", PODS)
def test_a_pod_can_do_no_more_than_it_must(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]


def secrets_of(pod: Any) -> Iterator[str]:
    for volume in pod["volumes"]:
        for item in volume.get("secret", {}).get("items", []):
            yield item["path"]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_the_secrets_that_its_settings_name(name: str, folder: Path) -> None:
    (container,) = PODS[name]["containers"]
    settings = {one["name"]: one["value"] for one in container["env"]}
    refuse_unknown(settings)
    given = set(secrets_of(PODS[name]))
    files = {
        Path(value).name
        for key, value in settings.items()
        if key.endswith("_FILE") and key != "PORCH_READY_FILE"
    }
    assert files <= given
    assert given <= {path.name for path in (folder / "secrets").iterdir()}


def test_pods_run_what_the_containers_run_and_are_watched_alike(folder: Path) -> None:
    compose = configuration(folder)["services"]
    for name, pod in PODS.items():
        (container,) = pod["containers"]
        service = compose[name.partition("-0")[0]]
        contained = [word for word in service["command"] if word not in {"--workers", "2"}]
        assert container["command"] == contained
        probe = container.get("readinessProbe", {})
        if "exec" in probe:
            assert probe["exec"]["command"][-1] == service["healthcheck"]["test"][-1]
        elif "httpGet" in probe:
            url = f":{probe['httpGet']['port']}{probe['httpGet']['path']}"
            assert url in service["healthcheck"]["test"][-1]


def test_what_a_service_or_a_policy_selects_is_there() -> None:
    parts = {
        manifest["metadata"]["labels"]["part"]
        for manifest in MANIFESTS
        if manifest["kind"] == "Deployment"
    }
    for manifest in MANIFESTS:
        selector = manifest["spec"].get("selector", {}) if manifest["kind"] == "Service" else {}
        if selector:
            assert selector["part"] in parts
