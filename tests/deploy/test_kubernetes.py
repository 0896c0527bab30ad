"""The manifests as kubectl renders them: valid, closed, and of one piece with the exporter."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__, cli
from exporter.settings.load import load
from tests.deploy.tools import tool


ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
OPERATOR = "overlays/prometheus-operator"
OVERLAYS = ["base", "overlays/sharded", OPERATOR]
GRAFANA = ROOT / "grafana"

#: Of its own kinds the operator has schemas, Kubernetes has none.
OPERATOR_API = "monitoring.coreos.com/v1"

#: What `kubectl apply` can still note on an object.
NOTE_BYTES = 262_144


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    """Return the objects that an overlay makes."""
    ended = subprocess.run(
        [tool("kubectl"), "kustomize", FOLDER / overlay],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (ended.returncode, ended.stderr)
    return list(yaml.safe_load_all(ended.stdout))


def one(kind: str, overlay: str = "base") -> dict[str, Any]:
    """Return the only object of a kind."""
    (found,) = (each for each in rendered(overlay) if each["kind"] == kind)
    return found


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod(workload)["containers"]
    result: dict[str, Any] = found
    return result


def check_schemas(path: Path) -> None:
    ended = subprocess.run(
        [tool("kubernetes-validate"), "--strict", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay: str, tmp_path: Path) -> None:
    """An API server must take the objects, and no field may be unknown to it."""
    objects = [each for each in rendered(overlay) if each["apiVersion"] != OPERATOR_API]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(objects))

    check_schemas(tmp_path / "all.yaml")


def test_the_example_of_a_secret_is_valid() -> None:
    """The Secret that users copy must be one."""
    check_schemas(FOLDER / "base" / "secret.example.yaml")


@pytest.mark.parametrize(
    ("overlay", "kind"), [("base", "Deployment"), ("overlays/sharded", "StatefulSet")]
)
def test_the_pod_is_restricted(overlay: str, kind: str) -> None:
    """The pod must be admitted where the policy is `restricted`, and have no way to the API."""
    workload = one(kind, overlay)
    user = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert {
        "runAsNonRoot": True,
        "runAsUser": int(user[0][0]),
        "runAsGroup": int(user[0][1]),
        "fsGroup": int(user[0][1]),
        "seccompProfile": {"type": "RuntimeDefault"},
    } == pod(workload)["securityContext"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container(workload)["securityContext"]
    assert pod(workload)["automountServiceAccountToken"] is False
    assert {"configMap", "secret", "persistentVolumeClaim"} >= {
        key for volume in pod(workload)["volumes"] for key in volume if key != "name"
    }


@pytest.mark.parametrize(
    ("overlay", "kind"), [("base", "Deployment"), ("overlays/sharded", "StatefulSet")]
)
def test_the_state_can_be_written(overlay: str, kind: str) -> None:
    """On a root that is read-only, what is remembered must be on a volume of its own."""
    exporter = container(one(kind, overlay))
    environ = {entry["name"]: entry["value"] for entry in exporter["env"]}
    environ |= {"LOADFLEET_REALLOAD_URL": "https://x/", "LOADFLEET_REALLOAD_AUTH_TOKEN": "x"}
    (mount,) = (each for each in exporter["volumeMounts"] if each["name"] == "state")

    path = load(None, environ=environ).settings.state.path

    assert mount["mountPath"] == str(path)
    assert "readOnly" not in mount


def test_the_state_outlives_the_pod() -> None:
    """A pod that is replaced must find what the one before it knew."""
    (volume,) = (each for each in pod(one("Deployment"))["volumes"] if each["name"] == "state")
    claim = one("PersistentVolumeClaim")

    assert claim["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]
    assert ["ReadWriteOnce"] == claim["spec"]["accessModes"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_finds_the_pods_and_no_others(overlay: str) -> None:
    """Selectors must name the application and its instance, which never change."""
    wanted = {
        "app.kubernetes.io/name": "loadfleet-exporter",
        "app.kubernetes.io/instance": "loadfleet",
    }
    objects = {each["kind"]: each for each in rendered(overlay)}
    workload = objects.get("Deployment") or objects["StatefulSet"]

    assert wanted == objects["Service"]["spec"]["selector"]
    assert wanted == workload["spec"]["selector"]["matchLabels"]
    assert wanted == objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert wanted == objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert wanted.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    assert wanted.items() <= objects["Service"]["metadata"]["labels"].items()


def test_probes_ask_about_the_exporter_only() -> None:
    """A vendor that is down must neither restart the exporter nor hide its metrics."""
    exporter = container(one("Deployment"))
    paths = {
        name: exporter[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    assert {
        "startupProbe": "/-/healthy",
        "livenessProbe": "/-/healthy",
        "readinessProbe": "/-/ready",
    } == paths


def test_memory_is_limited_and_cpu_is_not() -> None:
    """A limit of CPU would make scrapes slow without protecting anybody."""
    resources = container(one("Deployment"))["resources"]

    assert {"cpu", "memory"} == set(resources["requests"])
    assert {"memory"} == set(resources["limits"])


def test_two_never_call_the_vendors_at_once() -> None:
    """A rollout must end the old exporter before it starts the new one."""
    spec = one("Deployment")["spec"]

    assert 1 == spec["replicas"]
    assert {"type": "Recreate"} == spec["strategy"]


def test_the_configuration_goes_with_the_pod(tmp_path: Path) -> None:
    """The file must be valid, where the flag says, and name the secret where it is mounted."""
    workload = one("Deployment")
    exporter = container(workload)
    file = cli.parse(exporter["args"]).config_file
    places = {mount["name"]: mount["mountPath"] for mount in exporter["volumeMounts"]}
    (text,) = one("ConfigMap")["data"].values()
    example = yaml.safe_load((FOLDER / "base" / "secret.example.yaml").read_text())
    for key, value in example["stringData"].items():
        (tmp_path / key).write_text(value)
    (tmp_path / "loadfleet.yml").write_text(text.replace(places["secrets"], str(tmp_path)))

    loaded = load(tmp_path / "loadfleet.yml", environ={})

    assert f"{places['configuration']}/{next(iter(one('ConfigMap')['data']))}" == file
    assert places["secrets"] in text
    assert ["prod"] == [source.name for source in loaded.settings.sources]
    names = {"configMap": "name", "secret": "secretName"}
    assert {"loadfleet-exporter"} == {
        volume[kind][key]
        for volume in pod(workload)["volumes"]
        for kind, key in names.items()
        if kind in volume
    }
    assert "loadfleet-exporter" == example["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_image_is_of_this_version(overlay: str) -> None:
    """The manifests must start what they were written for."""
    objects = {each["kind"]: each for each in rendered(overlay)}
    workload = objects.get("Deployment") or objects["StatefulSet"]

    assert f"loadfleet-exporter:{__version__}" == container(workload)["image"]
    assert __version__ == workload["metadata"]["labels"]["app.kubernetes.io/version"]


def test_prometheus_comes_in_and_the_vendors_are_reached() -> None:
    """The port that is open must be the metrics', and names and HTTPS the only ways out."""
    spec = one("NetworkPolicy")["spec"]
    ways_out = {
        (port["protocol"], port["port"]) for rule in spec["egress"] for port in rule["ports"]
    }

    assert ["Ingress", "Egress"] == spec["policyTypes"]
    assert [[{"protocol": "TCP", "port": "metrics"}]] == [rule["ports"] for rule in spec["ingress"]]
    assert {("UDP", 53), ("TCP", 53), ("TCP", 443)} == ways_out


class TestSharded:
    OVERLAY = "overlays/sharded"

    def test_it_takes_the_deployments_place(self) -> None:
        """A Deployment beside the shards would poll everything once more."""
        kinds = [each["kind"] for each in rendered(self.OVERLAY)]

        assert 1 == kinds.count("StatefulSet")
        assert 0 == kinds.count("Deployment")

    def test_there_are_as_many_pods_as_shards(self) -> None:
        """With fewer pods than shards, some targets are watched by nobody."""
        workload = one("StatefulSet", self.OVERLAY)
        environ = {entry["name"]: entry["value"] for entry in container(workload)["env"]}
        environ |= {"LOADFLEET_REALLOAD_URL": "https://x/", "LOADFLEET_REALLOAD_AUTH_TOKEN": "x"}

        sharding = load(None, environ=environ).settings.sharding

        assert workload["spec"]["replicas"] == sharding.total_shards
        assert sharding.shard is None

    def test_each_shard_has_a_state_of_its_own(self) -> None:
        """Pods on several nodes cannot share a file."""
        workload = one("StatefulSet", self.OVERLAY)
        (claim,) = workload["spec"]["volumeClaimTemplates"]

        assert "state" == claim["metadata"]["name"]
        assert "state" not in [volume["name"] for volume in pod(workload)["volumes"]]
        assert "PersistentVolumeClaim" not in [each["kind"] for each in rendered(self.OVERLAY)]

    def test_each_shard_is_a_target(self) -> None:
        """Behind one address, a scrape would see one shard at random."""
        service = one("Service", self.OVERLAY)

        assert "None" == service["spec"]["clusterIP"]
        workload = one("StatefulSet", self.OVERLAY)
        assert service["metadata"]["name"] == workload["spec"]["serviceName"]


class TestPrometheusOperator:
    def test_its_rules_are_the_committed_ones(self) -> None:
        """Both ways to load the rules must load the same."""
        rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())

        assert rules == one("PrometheusRule", OPERATOR)["spec"]

    def test_its_rules_are_what_the_command_prints(self) -> None:
        """The committed resource must be the one that users can make with their thresholds."""
        printed = io.StringIO()

        with contextlib.redirect_stdout(printed):
            code = cli.main(["rules", "--format=operator"], environ={})

        assert 0 == code
        assert (FOLDER / OPERATOR / "prometheusrule.yaml").read_text() == printed.getvalue()

    def test_the_service_is_monitored_once(self) -> None:
        """The monitor must find the Service and its port, and no annotation find it again."""
        monitor = one("ServiceMonitor", OPERATOR)["spec"]
        service = one("Service", OPERATOR)

        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert [port["name"] for port in service["spec"]["ports"]] == [
            endpoint["port"] for endpoint in monitor["endpoints"]
        ]
        assert not service["metadata"].get("annotations")

    def test_the_job_is_the_one_alerts_look_for(self) -> None:
        """The alert that the exporter is gone knows its job by its name."""
        gone = [
            rule["expr"]
            for group in one("PrometheusRule", OPERATOR)["spec"]["groups"]
            for rule in group["rules"]
            if rule.get("alert") == "LoadFleetExporterGone"
        ]
        (pattern,) = set(re.findall(r'job=~"([^"]+)"', " ".join(gone)))

        assert re.fullmatch(pattern, one("Service", OPERATOR)["metadata"]["name"])

    def test_every_dashboard_is_brought(self) -> None:
        """Each dashboard must be in a ConfigMap of its own that the side-car looks for."""
        brought = {
            name: json.loads(text)
            for each in rendered(OPERATOR)
            if each["kind"] == "ConfigMap"
            and each["metadata"]["labels"].get("grafana_dashboard") == "1"
            for name, text in each["data"].items()
        }

        assert {
            path.name: json.loads(path.read_text()) for path in GRAFANA.glob("dashboards/*.json")
        } == brought

    def test_every_dashboard_can_be_applied(self) -> None:
        """An object that is too large for kubectl's note on it cannot be applied twice."""
        sizes = {each["metadata"]["name"]: len(json.dumps(each)) for each in rendered(OPERATOR)}

        assert {} == {name: size for name, size in sizes.items() if size >= NOTE_BYTES}
