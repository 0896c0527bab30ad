"""The chart as Helm renders it: valid, consistent with the exporter, and equal to kustomize's."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import re
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from deploy.reference import values
from exporter import cli
from exporter.settings.load import from_data
from exporter.settings.preflights import PREFLIGHTS
from exporter.settings.sections import SECTIONS, SOURCES
from tests.deploy import schemas, test_kubernetes
from tests.deploy.chart import (
    BASE,
    CASES,
    CHART,
    COPY,
    KUSTOMIZE,
    MONITORED,
    SECRETS,
    STORE,
    attempt,
    helm,
    one,
    parsed_yaml,
    refusal,
    rendered,
)
from tests.deploy.locks import ROOT


if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.slow

#: The oldest Kubernetes that the chart allows.
OLDEST = "1.25.0"

CASE = pytest.mark.parametrize("case", CASES)


@cache
def objects(case: str) -> list[dict[str, Any]]:
    return rendered(CASES[case])


def workload(case: str) -> dict[str, Any]:
    (found,) = (each for each in objects(case) if each["kind"] in ("Deployment", "StatefulSet"))
    return found


def container(case: str) -> dict[str, Any]:
    found: dict[str, Any] = workload(case)["spec"]["template"]["spec"]["containers"][0]
    return found


def environment(case: str) -> dict[str, str]:
    """Return the exporter's variables whose values are in the manifest."""
    return {each["name"]: each["value"] for each in container(case).get("env", ())}


@CASE
def test_helm_has_nothing_to_complain_about(case: str) -> None:
    """The linter must find the chart and the values right."""
    helm("lint", "--strict", CHART, values=CASES[case])


@CASE
def test_kubernetes_knows_every_field(case: str) -> None:
    """The oldest API server that the chart allows and the newest must take the objects."""
    assert f">={OLDEST}-0" == yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]

    schemas.check(objects(case), oldest=OLDEST)


@CASE
def test_the_exporter_takes_what_the_chart_gives_it(case: str, tmp_path: Path) -> None:
    """A pod that was installed must not fail for its flags, its variables or its file."""
    command = cli.parse(container(case)["args"])

    assert ("demo" if case == "demo" else "run") == command.command
    if SOURCES in CASES[case].get("config", {}):
        (text,) = (e["data"]["loadfleet.yml"] for e in objects(case) if is_configuration(e))
        data, environ = with_files([yaml.safe_load(text), environment(case)], tmp_path)
        settings = from_data(data, environ=environ)
        assert CASES[case]["config"] == yaml.safe_load(text)
        assert [each["name"] for each in data[SOURCES]] == [each.name for each in settings.sources]


def is_configuration(each: dict[str, Any]) -> bool:
    return "loadfleet.yml" in each.get("data", {})


def with_files(data: list[Any], folder: Path) -> list[Any]:
    """Return data whose Secret's files are in a folder, with invented secrets."""
    for name in re.findall(rf"{SECRETS}/([\w.]+)", json.dumps(data)):
        (folder / name).write_text("secret")
    moved: list[Any] = json.loads(json.dumps(data).replace(SECRETS, str(folder)))
    return moved


def test_every_value_does_something() -> None:
    """Every documented value must have an effect in some case."""
    documented = [key.strip("`") for key, _, _ in values.rows(values.VALUES.read_text())]

    assert [] == [key for key in documented if not any(matters(key, case) for case in CASES)]


def matters(key: str, case: str) -> bool:
    """Return whether a case sets a value, and renders differently without it."""
    without = copy.deepcopy(CASES[case])
    *above, last = key.split(".")
    mapping: Any = without
    for each in above:
        mapping = mapping.get(each, {})
    if last not in mapping:
        return False
    del mapping[last]
    # Values that are refused give nothing.
    manifest = attempt("template", "loadfleet", CHART, "--namespace", "load", values=without).stdout
    return parsed_yaml(manifest) != objects(case)


# -- It gives what kustomize gives ----------------------------------------------------------------


@pytest.mark.parametrize("folder", KUSTOMIZE)
def test_it_gives_what_kustomize_gives(folder: str) -> None:
    """The chart must render the same objects, with the same fields, as Kustomize."""
    chart_values, release = KUSTOMIZE[folder]

    expected = normal(test_kubernetes.rendered(folder))

    assert expected == normal(rendered(chart_values, release=release))


def normal(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return objects by kind and name, without Helm's and kustomize's own labels."""
    text = json.dumps(found).replace("ghcr.io/loadfleet/loadfleet-exporter", "loadfleet-exporter")
    # The chart's dashboards have the release's name, as a namespace may have several releases.
    text = text.replace("loadfleet-exporter-dashboard", "loadfleet-dashboard")
    objects = json.loads(text, object_hook=comparable)
    for each in objects:
        each["metadata"].pop("namespace", None)
        if is_configuration(each):
            each["data"] = yaml.safe_load(each["data"]["loadfleet.yml"])
        elif each["kind"] in ("ConfigMap", "PrometheusRule", "ServiceMonitor"):
            # The overlay does not call the operator's objects and dashboards a component.
            for name in ("component", "version"):
                each["metadata"]["labels"].pop(f"app.kubernetes.io/{name}", None)
    return {f"{each['kind']} {each['metadata']['name']}": each for each in objects}


def comparable(mapping: dict[str, Any]) -> dict[str, Any]:
    # The chart's pull policy is Kubernetes' default for an image with a tag.
    ours = {"app.kubernetes.io/managed-by", "helm.sh/chart", "imagePullPolicy"}
    if "env" in mapping:
        mapping["env"].sort(key=itemgetter("name"))
    return {key: value for key, value in mapping.items() if key not in ours}


# -- It refuses what would not work ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"replcas": 2}, "at '': additional properties 'replcas' not allowed"),
        ({"image": {"tga": "1"}}, "at '/image': additional properties 'tga' not allowed"),
        ({"image": {"tag": 1.1}}, "at '/image/tag': got number, want string"),
        ({"config": {"soruces": []}}, "at '/config': additional properties 'soruces' not allowed"),
        ({"serviceMonitor": {"enabled": "yes"}}, "at '/serviceMonitor/enabled': got string"),
        ({"serviceMonitor": {"interval": "30"}}, "at '/serviceMonitor/interval': '30' does not"),
        ({"affinity": {"nodeAfinity": {}}}, "additional properties 'nodeAfinity' not allowed"),
        ({"podLabels": {"a": True}}, "at '/podLabels/a': got boolean, want string"),
        ({"extraArgs": "--log.level=debug"}, "at '/extraArgs': got string, want array"),
        ({"ingress": {"enabled": True}}, "at '/ingress/hosts': minItems: got 0, want 1"),
        ({"state": {"url": "valkey:6379"}}, "at '/state/url': 'valkey:6379' does not match"),
        ({"demo": True, "config": {"log": {}}}, "demo: polls a simulated fleet"),
        ({"existingConfigMap": "a", "config": {"log": {}}}, "existingConfigMap: replaces config"),
        ({"existingSecret": "a", "secrets": {"b": "c"}}, "existingSecret: replaces secrets"),
        ({"state": STORE["state"]}, "state.passwordKey: is a key of a Secret"),
        ({"replicas": 2}, "replicas: more than 1 need state.url"),
        ({**COPY, "replicas": 2}, "replicas: must be 1 with shards"),
        ({"shards": 4}, "shards: more than 3 need state.url"),
        ({"shards": 2, "persistence": {"existingClaim": "a"}}, "persistence.existingClaim: shards"),
        (
            {
                "shards": 2,
                "ingress": {"enabled": True, "hosts": [{"host": "a", "paths": [{"path": "/"}]}]},
            },
            "ingress.enabled: cannot be used with shards",
        ),
        (
            {
                "prometheusRule": {
                    "enabled": True,
                    "disabled": ["LoadFleetNope", "LoadFleetHeartbeat"],
                }
            },
            "prometheusRule.disabled: no alert is called LoadFleetNope\n",
        ),
        (
            {"prometheusRule": {"enabled": True}, "fullnameOverride": "lf"},
            "fullnameOverride: must contain loadfleet",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_it_refuses(mistake: dict[str, Any], message: str) -> None:
    """A wrong value must be refused with its name, before anything is changed."""
    assert message in refusal(mistake)


@pytest.mark.parametrize(
    "web",
    [
        {},
        {"route_prefix": "/fleet/"},
        {"external_url": "https://example.com/a/b/"},
        {"external_url": "https://example.com/a", "route_prefix": "/"},
        {"external_url": "https://example.com"},
    ],
)
def test_probes_and_scrapes_follow_the_route_prefix(web: dict[str, str]) -> None:
    """Under a path of its own, the exporter answers under no other."""
    source = {**BASE["config"]["sources"][0], "auth_token": "x"}
    del source["auth_token_file"]
    prefix = from_data({"sources": [source], "web": web}).web.route_prefix

    found = rendered({"config": {"sources": [source], "web": web}, **MONITORED})

    (exporter,) = one("Deployment", found)["spec"]["template"]["spec"]["containers"]
    assert {
        "startupProbe": f"{prefix}/-/healthy",
        "livenessProbe": f"{prefix}/-/healthy",
        "readinessProbe": f"{prefix}/-/ready",
    } == {name: exporter[name]["httpGet"]["path"] for name in exporter if name.endswith("Probe")}
    (endpoint,) = one("ServiceMonitor", found)["spec"]["endpoints"]
    assert f"{prefix}/metrics" == endpoint.get("path", "/metrics")


def test_tls_is_followed_everywhere() -> None:
    """A probe or a scrape without TLS would find the exporter dead."""
    headers = [{"name": "Authorization", "value": "Basic cHJvYmU6cHJvYmU="}]
    given = {**BASE, "webConfig": {"existingSecret": "web", "tls": True, "probeHeaders": headers}}

    annotated = one("Service", rendered(given))["metadata"]["annotations"]
    found = rendered({**given, **MONITORED})

    assert "https" == annotated["prometheus.io/scheme"]
    assert "annotations" not in one("Service", found)["metadata"]
    assert "https" == one("ServiceMonitor", found)["spec"]["endpoints"][0]["scheme"]
    (exporter,) = one("Deployment", found)["spec"]["template"]["spec"]["containers"]
    probes = [exporter[name]["httpGet"] for name in exporter if name.endswith("Probe")]
    assert [("HTTPS", headers)] * 3 == [(each["scheme"], each["httpHeaders"]) for each in probes]
    file = Path(cli.parse(exporter["args"]).web_config_file)
    assert str(file.parent) in {mount["mountPath"] for mount in exporter["volumeMounts"]}


def test_a_store_in_the_configuration_is_one() -> None:
    """The exporter's own setting does what the chart's value does, for the same conditions."""
    config = {"state": {"url": "redis://valkey:7000/0"}}

    found = rendered({"replicas": 2, "config": config})

    kinds = [each["kind"] for each in found]
    assert "PersistentVolumeClaim" not in kinds
    ways_out = one("NetworkPolicy", found)["spec"]["egress"]
    assert {"ports": [{"protocol": "TCP", "port": 7000}]} == ways_out[-1]


def test_the_schema_has_the_values_and_no_others() -> None:
    """The chart's schema must have exactly the values that are documented."""
    documented = {key.strip("`") for key, _, _ in values.rows(values.VALUES.read_text())}
    schema = json.loads((CHART / "values.schema.json").read_text())
    # A parent chart passes this key to its subcharts.
    del schema["properties"]["global"]

    assert documented == set(leaves(schema, documented))


def leaves(schema: dict[str, Any], documented: set[str], *above: str) -> Iterator[str]:
    """Yield the dotted names of a schema's values; each mapping must be closed."""
    assert schema["additionalProperties"] is False, above
    for key, inner in schema["properties"].items():
        path = ".".join((*above, key))
        if path in documented:
            yield path
        else:
            yield from leaves(inner, documented, *above, key)


def test_the_sections_of_the_configuration_are_known() -> None:
    """A section that the exporter has must not be refused by the chart, nor the other way round."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    sections = schema["properties"]["config"]["properties"]

    assert {SOURCES, PREFLIGHTS, *SECTIONS} == set(sections)


def test_nothing_is_started_without_a_source() -> None:
    """A pod without a source would only fail again and again."""
    assert 0 == workload("default")["spec"]["replicas"]
    assert 1 == workload("demo")["spec"]["replicas"]
    assert 1 == workload("minimal")["spec"]["replicas"]


# -- Rules and dashboards are the exporter's ------------------------------------------------------


def groups(**given: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one(
        "PrometheusRule", rendered({"prometheusRule": {"enabled": True, **given}})
    )["spec"]["groups"]
    return found


def test_the_rules_are_what_the_command_prints() -> None:
    """The chart must bring the alerts of its version, with every brace in their texts."""
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        cli.main(["rules", "--format=operator"], environ={})

    assert yaml.safe_load(printed.getvalue())["spec"]["groups"] == groups()


def test_alerts_can_be_left_out_and_labelled() -> None:
    """The other rules stay as they are, and what is recorded gets no label."""
    left_out = ["LoadFleetAgentOutdated", "LoadFleetHeartbeat"]
    expected = [
        rule | ({"labels": {**rule["labels"], "team": "load"}} if "alert" in rule else {})
        for rule in rules()
        if rule.get("alert") not in left_out
    ]

    assert expected == rules(disabled=left_out, additionalRuleLabels={"team": "load"})
    assert len(expected) < len(rules())


def rules(**given: Any) -> list[dict[str, Any]]:
    return [rule for group in groups(**given) for rule in group["rules"]]


def test_the_dashboards_are_those_of_the_repository() -> None:
    """Each dashboard must come as it is, in a ConfigMap of its own."""
    files = {path.name: path.read_text() for path in ROOT.glob("grafana/dashboards/*.json")}

    brought = [
        each["data"]
        for each in rendered({"dashboards": {"enabled": True}})
        if each["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]

    assert [1] * len(files) == [len(data) for data in brought]
    assert {name: json.loads(text) for name, text in files.items()} == {
        name: json.loads(text) for data in brought for name, text in data.items()
    }
