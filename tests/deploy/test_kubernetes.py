"""The manifests as kubectl renders them: valid, restricted, and consistent with the exporter."""

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
from tests.deploy import schemas, valkey
from tests.deploy.install import PAGE, commands
from tests.deploy.tools import tool
from tests.support.redis import PROGRAMS


ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
OPERATOR = "overlays/prometheus-operator"
PAIR = "overlays/high-availability"
VALKEY = "overlays/valkey"
COPIES = ["overlays/sharded-pairs/a", "overlays/sharded-pairs/b"]
#: Overlays with the kind of the exporters' workload.
WORKLOADS = [
    ("base", "Deployment"),
    ("overlays/sharded", "StatefulSet"),
    (PAIR, "Deployment"),
    (VALKEY, "Deployment"),
    *((copy, "StatefulSet") for copy in COPIES),
]
OVERLAYS = [*(overlay for overlay, _ in WORKLOADS), OPERATOR]
GRAFANA = ROOT / "grafana"

#: Kubernetes' limit for annotations, in which `kubectl apply` stores an object, bytes.
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


def one(kind: str, overlay: str = "base", *, name: str = "loadfleet-exporter") -> dict[str, Any]:
    """Return the only object of a kind whose name begins like this; overlays add suffixes."""
    (found,) = (
        each
        for each in rendered(overlay)
        if each["kind"] == kind and each["metadata"]["name"].startswith(name)
    )
    return found


def environment(workload: dict[str, Any]) -> dict[str, str]:
    """Return the variables of the exporter, with those of a source."""
    environ = {entry["name"]: entry["value"] for entry in container(workload)["env"]}
    return environ | {
        "LOADFLEET_REALLOAD_URL": "https://x/",
        "LOADFLEET_REALLOAD_AUTH_TOKEN": "x",
    }


def without_store(workload: dict[str, Any]) -> dict[str, str]:
    """Return the variables of an exporter, without the file of the store's password."""
    found = environment(workload)
    return {name: text for name, text in found.items() if not name.endswith("PASSWORD_FILE")}


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod(workload)["containers"]
    result: dict[str, Any] = found
    return result


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay: str) -> None:
    """An API server must take the objects, and no field may be unknown to it."""
    schemas.check(rendered(overlay))


@pytest.mark.parametrize("folder", ["base", "components/shared-state"])
def test_the_example_of_a_secret_is_valid(folder: str) -> None:
    """The Secret that users copy must be one."""
    schemas.check([yaml.safe_load((FOLDER / folder / "secret.example.yaml").read_text())])


@pytest.mark.parametrize(("overlay", "kind"), WORKLOADS)
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


@pytest.mark.parametrize(("overlay", "kind"), WORKLOADS[:2])
def test_the_state_can_be_written(overlay: str, kind: str) -> None:
    """On a root that is read-only, what is remembered must be on a volume of its own."""
    workload = one(kind, overlay)
    mounts = container(workload)["volumeMounts"]
    (mount,) = (each for each in mounts if each["name"] == "state")

    path = load(None, environ=without_store(workload)).settings.state.path

    assert mount["mountPath"] == str(path)
    assert "readOnly" not in mount


def test_the_state_outlives_the_pod() -> None:
    """A pod that is replaced must find what the one before it knew."""
    (volume,) = (each for each in pod(one("Deployment"))["volumes"] if each["name"] == "state")
    claim = one("PersistentVolumeClaim")

    assert claim["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]
    assert ["ReadWriteOnce"] == claim["spec"]["accessModes"]


def exporters(overlay: str) -> dict[str, dict[str, Any]]:
    """Return the exporters' objects by kind, with the workload as `Workload` as well."""
    objects = {
        each["kind"]: each
        for each in rendered(overlay)
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "exporter"
    }
    return objects | {"Workload": objects.get("Deployment") or objects["StatefulSet"]}


@pytest.mark.parametrize("overlay", [each for each in OVERLAYS if each not in COPIES])
def test_every_selector_finds_the_pods_and_no_others(overlay: str) -> None:
    """Selectors must name the application and its instance, which never change."""
    wanted = {
        "app.kubernetes.io/name": "loadfleet-exporter",
        "app.kubernetes.io/instance": "loadfleet",
    }
    objects = exporters(overlay)
    workload = objects["Workload"]

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
    """Memory must be limited, and CPU not: a limit of CPU would only slow scrapes down."""
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
    workload = exporters(overlay)["Workload"]

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


def test_the_page_names_what_is_made() -> None:
    """The page's commands must be kubectl's, about the Deployment and the Secret of the base."""
    page = PAGE.with_name("kubernetes.md")
    blocks = [block.replace("\\\n", "") for block in commands("Install", page)]
    lines = [line for block in blocks for line in block.splitlines()]
    (volume,) = (each for each in pod(one("Deployment"))["volumes"] if "secret" in each)
    verbs = {"create namespace", "create secret", "rollout status", "apply", "exec", "port-forward"}
    plain = [line.replace("kubectl -n loadfleet ", "kubectl ") for line in lines]

    assert [] == [line for line in plain if not re.match(f"kubectl ({'|'.join(verbs)}) ", line)]
    assert {one("Deployment")["metadata"]["name"]} == {
        name for line in lines for name in re.findall(r"deployment/(\S+)", line)
    }
    assert any(f"generic {volume['secret']['secretName']} " in line for line in lines)


class TestSharded:
    OVERLAY = "overlays/sharded"

    def test_it_takes_the_deployments_place(self) -> None:
        """A Deployment beside the shards would poll everything once more."""
        kinds = [each["kind"] for each in rendered(self.OVERLAY)]

        assert 1 == kinds.count("StatefulSet")
        assert 0 == kinds.count("Deployment")

    def test_there_are_as_many_pods_as_shards(self) -> None:
        """There must be as many pods as shards, or some targets would not be watched."""
        workload = one("StatefulSet", self.OVERLAY)

        sharding = load(None, environ=environment(workload)).settings.sharding

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


class TestHighAvailability:
    @pytest.mark.parametrize("overlay", [PAIR, VALKEY, *COPIES])
    def test_they_find_their_store(self, overlay: str, tmp_path: Path) -> None:
        """Exporters that do not share a store are no pair: each of them would call the vendors."""
        workload = exporters(overlay)["Workload"]
        environ = environment(workload)
        secrets = next(
            mount for mount in container(workload)["volumeMounts"] if mount["name"] == "secrets"
        )
        example = yaml.safe_load(
            (FOLDER / "components/shared-state/secret.example.yaml").read_text()
        )
        for key, value in example["stringData"].items():
            (tmp_path / key).write_text(value)
        file = environ["LOADFLEET_STATE__PASSWORD_FILE"]
        inside = file.replace(secrets["mountPath"], str(tmp_path))

        loaded = load(None, environ=environ | {"LOADFLEET_STATE__PASSWORD_FILE": inside})

        host = "loadfleet-valkey" if overlay == VALKEY else "valkey.example.com"
        assert f"redis://{host}:6379/0" == str(loaded.settings.state.url)
        assert Path(inside) == loaded.settings.state.password_file
        assert Path(inside).is_relative_to(tmp_path)

    def test_the_secret_of_the_page_is_that_of_the_pods(self, tmp_path: Path) -> None:
        """Its keys are those that the Secret's example and the base's configuration name."""
        (command,) = commands("Set up a pair", PAGE.with_name("high-availability.md"))[2:]
        for name in re.findall(r"--from-file=(\S+)", command):
            (tmp_path / name).write_text("invented")

        made = subprocess.run(
            [tool("kubectl"), *command.split()[1:], "--dry-run=client", "--output=yaml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )

        secret = yaml.safe_load(made.stdout)
        example = (FOLDER / "components/shared-state/secret.example.yaml").read_text()
        expected = yaml.safe_load(example)
        assert expected["metadata"]["name"] == secret["metadata"]["name"]
        assert expected["stringData"].keys() == secret["data"].keys()

    @pytest.mark.parametrize("overlay", [PAIR, VALKEY])
    def test_one_stays(self, overlay: str) -> None:
        """Neither a rollout nor a drain may take both exporters away."""
        objects = exporters(overlay)
        spec = objects["Deployment"]["spec"]

        assert 2 == spec["replicas"]
        assert {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        } == spec["strategy"]
        assert 1 == objects["PodDisruptionBudget"]["spec"]["minAvailable"]
        assert "maxUnavailable" not in objects["PodDisruptionBudget"]["spec"]

    @pytest.mark.parametrize("overlay", [PAIR, VALKEY, *COPIES])
    def test_they_run_apart_where_they_can(self, overlay: str) -> None:
        """A node or a zone that is lost must not take both away, and a single one must do."""
        constraints = pod(exporters(overlay)["Workload"])["topologySpreadConstraints"]

        assert {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} == {
            each["topologyKey"] for each in constraints
        }
        for each in constraints:
            assert "ScheduleAnyway" == each["whenUnsatisfiable"]
            assert {"app.kubernetes.io/name": "loadfleet-exporter"} == each["labelSelector"][
                "matchLabels"
            ]

    @pytest.mark.parametrize("overlay", [PAIR, VALKEY, *COPIES])
    def test_no_volume_ties_them_to_a_node(self, overlay: str) -> None:
        """Pods with a shared store must mount no volume claim: it would tie them to one node."""
        objects = exporters(overlay)

        assert {"configuration", "secrets"} == {
            volume["name"] for volume in pod(objects["Workload"])["volumes"]
        }
        assert "volumeClaimTemplates" not in objects["Workload"]["spec"]
        assert "PersistentVolumeClaim" not in objects

    @pytest.mark.parametrize("overlay", [PAIR, *COPIES])
    def test_they_reach_a_store_of_yours(self, overlay: str) -> None:
        """The way to the store must be open beside the others, wherever it is."""
        before = one("NetworkPolicy")["spec"]["egress"]

        after = exporters(overlay)["NetworkPolicy"]["spec"]["egress"]

        assert [*before, {"ports": [{"protocol": "TCP", "port": 6379}]}] == after

    def test_it_goes_with_the_operator(self, tmp_path: Path) -> None:
        """The components must fit the other overlay, whose monitor then finds both exporters."""
        names = ["shared-state", "pair", "valkey"]
        (tmp_path / "deploy").symlink_to(ROOT / "deploy")
        (tmp_path / "grafana").symlink_to(GRAFANA)
        (tmp_path / "kustomization.yaml").write_text(
            yaml.safe_dump(
                {
                    "resources": [f"deploy/kubernetes/{OPERATOR}"],
                    "components": [f"deploy/kubernetes/components/{name}" for name in names],
                }
            )
        )

        objects = rendered(str(tmp_path))

        (replicas,) = (each["spec"]["replicas"] for each in objects if each["kind"] == "Deployment")
        assert 2 == replicas
        assert {"PrometheusRule", "ServiceMonitor", "StatefulSet"} <= {e["kind"] for e in objects}


class TestPairsOfShards:
    def test_each_shard_is_there_twice(self) -> None:
        """A copy must have all shards, under names that end in their numbers."""
        both = [exporters(copy)["StatefulSet"] for copy in COPIES]

        sharding = [load(None, environ=without_store(each)).settings.sharding for each in both]

        assert ["loadfleet-exporter-a", "loadfleet-exporter-b"] == [
            each["metadata"]["name"] for each in both
        ]
        assert [each["spec"]["replicas"] for each in both] == [s.total_shards for s in sharding]
        assert sharding[0] == sharding[1]

    def test_the_copies_do_not_mix(self) -> None:
        """A workload, a Service or a policy must not take hold of the other copy's pods."""
        for copy in COPIES:
            wanted = {
                "app.kubernetes.io/name": "loadfleet-exporter",
                "app.kubernetes.io/instance": f"loadfleet-{copy[-1]}",
            }
            objects = exporters(copy)
            workload = objects["StatefulSet"]

            assert wanted == objects["Service"]["spec"]["selector"]
            assert wanted == workload["spec"]["selector"]["matchLabels"]
            assert wanted == objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
            assert wanted.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
            assert objects["Service"]["metadata"]["name"] == workload["spec"]["serviceName"]
            assert (
                one("NetworkPolicy")["spec"]["ingress"]
                == (objects["NetworkPolicy"]["spec"]["ingress"])
            )

    def test_one_pod_goes_at_a_time(self) -> None:
        """Two budgets would let both pods of a shard go at once."""
        budgets = [exporters(copy).get("PodDisruptionBudget") for copy in COPIES]
        labels = [
            exporters(copy)["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
            for copy in COPIES
        ]

        (budget,) = (each for each in budgets if each)

        assert 1 == budget["spec"]["maxUnavailable"]
        selector = budget["spec"]["selector"]["matchLabels"]
        assert [True, True] == [selector.items() <= each.items() for each in labels]


class TestValkey:
    def test_the_pod_is_restricted(self) -> None:
        """The pod must be admitted where the policy is `restricted`, and have no way to the API."""
        workload = one("StatefulSet", VALKEY, name="loadfleet-valkey")

        assert {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "runAsGroup": 999,
            "fsGroup": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        } == pod(workload)["securityContext"]
        assert (
            container(one("Deployment"))["securityContext"]
            == (container(workload)["securityContext"])
        )
        assert pod(workload)["automountServiceAccountToken"] is False

    def test_it_keeps_what_it_has(self) -> None:
        """A pod that is replaced must find what the one before it knew."""
        spec = one("StatefulSet", VALKEY, name="loadfleet-valkey")["spec"]
        (claim,) = spec["volumeClaimTemplates"]
        (mount,) = (
            each
            for each in spec["template"]["spec"]["containers"][0]["volumeMounts"]
            if each["name"] == claim["metadata"]["name"]
        )

        assert 1 == spec["replicas"]
        assert "/data" == mount["mountPath"]

    def test_the_exporters_come_in_and_nothing_goes_out(self) -> None:
        """Only the exporters may reach the store, and the store may reach nothing."""
        workload = one("StatefulSet", VALKEY, name="loadfleet-valkey")
        service = one("Service", VALKEY, name="loadfleet-valkey")["spec"]
        spec = one("NetworkPolicy", VALKEY, name="loadfleet-valkey")["spec"]
        ours = exporters(VALKEY)
        labels = workload["spec"]["template"]["metadata"]["labels"]

        (rule,) = spec["ingress"]
        (peer,) = rule["from"]
        way = ours["NetworkPolicy"]["spec"]["egress"][-1]

        assert ["Ingress", "Egress"] == spec["policyTypes"]
        assert [] == spec["egress"]
        admitted = ours["Workload"]["spec"]["template"]["metadata"]["labels"]
        assert peer["podSelector"]["matchLabels"].items() <= admitted.items()
        assert [{"protocol": "TCP", "port": "valkey"}] == rule["ports"]
        assert spec["podSelector"]["matchLabels"] == service["selector"]
        assert workload["spec"]["selector"]["matchLabels"] == service["selector"]
        assert service["selector"].items() <= labels.items()
        assert [{"podSelector": {"matchLabels": service["selector"]}}] == way["to"]
        (port,) = service["ports"]
        assert [port["port"]] == [each["port"] for each in way["ports"]]
        assert [port["port"]] == [
            each["containerPort"]
            for each in container(workload)["ports"]
            if each["name"] == "valkey"
        ]

    def test_the_password_is_that_of_the_exporters(self) -> None:
        """Both sides must read the same key of the same Secret, and the store nothing else."""
        ours = exporters(VALKEY)["Workload"]
        (volume,) = pod(one("StatefulSet", VALKEY, name="loadfleet-valkey"))["volumes"]
        (secrets,) = (each for each in pod(ours)["volumes"] if each["name"] == "secrets")
        file = environment(ours)["LOADFLEET_STATE__PASSWORD_FILE"]

        assert secrets["secret"]["secretName"] == volume["secret"]["secretName"]
        assert [{"key": Path(file).name, "path": "password"}] == volume["secret"]["items"]

    @pytest.mark.slow
    @pytest.mark.parametrize("program", PROGRAMS)
    async def test_it_starts_as_it_must(self, program: str, tmp_path: Path) -> None:
        """The store's command must start a fitting server, and its probes succeed."""
        store = container(one("StatefulSet", VALKEY, name="loadfleet-valkey"))
        probes = [store[f"{name}Probe"]["exec"] for name in ("startup", "liveness", "readiness")]
        (script,) = store["args"]
        *shell, health = probes[0]["command"]

        async with valkey.started(program, script, health, tmp_path) as running:
            assert ["sh", "-euc"] == store["command"]
            assert ["sh", "-c"] == shell
            assert [probes[0]] * 3 == probes
            await valkey.check(running)

    def test_it_is_the_one_of_the_compose_file(self) -> None:
        """The store must have the same image, user and flags as in the compose file."""
        compose = yaml.safe_load((ROOT / "deploy/compose/compose.yml").read_text())
        there = compose["services"]["valkey"]
        workload = one("StatefulSet", VALKEY, name="loadfleet-valkey")
        here = container(workload)
        begin = "exec valkey-server"

        assert there["image"] == here["image"]
        context = pod(workload)["securityContext"]
        assert there["user"] == f"{context['runAsUser']}:{context['runAsGroup']}"
        assert (
            there["command"][0].replace("$$", "$").partition(begin)[2]
            == (here["args"][0].partition(begin)[2])
        )


class TestPrometheusOperator:
    def test_its_rules_are_the_committed_ones(self) -> None:
        """The rules must be the committed ones."""
        rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())

        assert rules == one("PrometheusRule", OPERATOR)["spec"]

    def test_its_rules_are_what_the_command_prints(self) -> None:
        """The committed rules must be the ones that the command prints."""
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
