"""The compose file: valid, pinned, and with an exporter that finds its configuration."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from exporter import cli
from exporter.settings.load import load
from exporter.simulator.options import SimulatorOptions, options_from
from exporter.simulator.server import Simulation
from exporter.state.opening import place_of
from exporter.state.settings import StateSettings
from tests.deploy import valkey
from tests.deploy.image import NAME
from tests.deploy.install import PAGE, commands
from tests.deploy.tools import tool
from tests.support.redis import PROGRAMS
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.deploy.image import Image


FOLDER = Path(__file__).parent.parent.parent / "deploy" / "compose"
GRAFANA = Path(__file__).parent.parent.parent / "grafana"
PORTAL = {
    "LOADFLEET_REALLOAD_URL": "https://portal.example.com/RemoteUserAPI",
    "LOADFLEET_REALLOAD_AUTH_TOKEN_FILE": "/home/me/token",
}
PAIR = {"LOADFLEET_VALKEY_PASSWORD_FILE": "/home/me/password"}
EXPORTERS = ["exporter", "exporter-2"]

#: In the order of the page's table.
ADDRESSES = ["exporter", "grafana", "prometheus", "alertmanager"]


def rendered(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the compose file as compose reads it in an environment."""

    def value(match: re.Match[str]) -> str:
        name, operator, text = match.groups()
        given = environ.get(name, "")
        return (text if given else "") if operator == ":+" else given or text

    content = (FOLDER / "compose.yml").read_text()
    compose: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+)(:[-+])([^}]*)\}", value, content))
    return compose


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """Return a service's mounts, by the path inside."""
    return {
        target: source
        for source, target, *_ in (volume.split(":") for volume in service.get("volumes", []))
    }


@pytest.mark.parametrize("environ", [{}, PORTAL, PAIR], ids=["demo", "portal", "pair"])
def test_it_keeps_the_schema(environ: dict[str, str], tmp_path: Path) -> None:
    """The file must be valid by the compose specification, whatever the variables are."""
    copy = tmp_path / "compose.yml"
    copy.write_text(yaml.safe_dump(rendered(environ)))

    checked = subprocess.run(
        [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", copy],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == checked.returncode, checked.stdout + checked.stderr


def test_versions_are_pinned() -> None:
    """Every image must be pinned to a version."""
    images = {service["image"] for service in rendered({})["services"].values()}

    assert {NAME} == {image for image in images if "loadfleet" in image}
    assert [] == [i for i in images if not re.search(r":v?\d+\.\d+\.\d+$", i)]


@pytest.mark.parametrize("environ", [{}, PORTAL, PAIR], ids=["demo", "portal", "pair"])
def test_everything_mounted_is_there(environ: dict[str, str]) -> None:
    """Every mounted file must exist, or the mount would become an empty folder."""
    services = rendered(environ)["services"].values()
    sources = [source for service in services for source in mounts(service).values()]

    assert [] == [s for s in sources if s.startswith(".") and not (FOLDER / s).exists()]


def test_nothing_is_open_to_others() -> None:
    """Ports must be reachable from this machine only: nobody has to log in."""
    services = rendered({})["services"].values()
    ports = [port for service in services for port in service.get("ports", [])]

    assert 5 == len(ports)
    assert len(ports) == len(set(ports))
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, ["simulated-portal", "simulated-account", "simulated-lab"]),
        (PORTAL, ["realload"]),
    ],
    ids=["demo", "portal"],
)
def test_the_exporter_finds_its_sources(
    environ: dict[str, str], names: list[str], tmp_path: Path
) -> None:
    """Without variables it must watch the demo fleet, with the two the portal and nothing else."""
    exporter = rendered(environ)["services"]["exporter"]
    inside = dict(exporter["environment"])
    (tmp_path / "token").write_text("invented")
    if environ:
        inside["LOADFLEET_REALLOAD_AUTH_TOKEN_FILE"] = str(tmp_path / "token")
    file = FOLDER / mounts(exporter)[inside.pop("LOADFLEET_CONFIG_FILE")]

    settings = load(file, environ=inside).settings

    assert names == [source.name for source in settings.sources]


def test_the_token_arrives_where_it_is_read() -> None:
    """The secret must be the file of the second variable, mounted where the exporter looks."""
    compose = rendered(PORTAL)
    exporter = compose["services"]["exporter"]

    path = exporter["environment"]["LOADFLEET_REALLOAD_AUTH_TOKEN_FILE"]

    secret = path.removeprefix("/run/secrets/")
    assert secret in exporter["secrets"]
    assert "/home/me/token" == compose["secrets"][secret]["file"]


@pytest.mark.parametrize("environ", [{}, PORTAL], ids=["demo", "portal"])
def test_the_state_outlives_the_container(environ: dict[str, str]) -> None:
    """On a root that is read-only, what is remembered must be in a volume that can be written."""
    compose = rendered(environ)
    exporter = compose["services"]["exporter"]

    place = place_of(StateSettings(), exporter["environment"])

    assert exporter["read_only"] is True
    assert place is not None
    path = place.folder
    (volume,) = (each for each in exporter["volumes"] if each.split(":")[1] == str(path))
    assert f"state:{path}" == volume
    assert "state" in compose["volumes"]
    assert f"65532 {path}\n" in (FOLDER.parent.parent / "Dockerfile").read_text()


@pytest.mark.timeout(900)  # the image is built first
async def test_the_exporter_runs_as_told(image: Image, tmp_path: Path) -> None:
    """Closed as the file says, the image must poll the portal and keep its state."""
    status = ("loadfleet-exporter", "status", "--url=http://localhost:10871")
    (tmp_path / "token").write_text(SimulatorOptions().token)
    async with image.engine.portal() as portal:
        url = f"{portal}/RemoteUserAPI"
        token = str(tmp_path / "token")
        compose = rendered(
            {"LOADFLEET_REALLOAD_URL": url, "LOADFLEET_REALLOAD_AUTH_TOKEN_FILE": token}
        )
        exporter = compose["services"]["exporter"]
        options = [
            *(f"--cap-drop={each}" for each in exporter["cap_drop"]),
            *(f"--security-opt={each}" for each in exporter["security_opt"]),
            *(f"--env={name}={text or ''}" for name, text in exporter["environment"].items()),
            *(
                f"--volume={FOLDER / source}:{to}:ro"
                for to, source in mounts(exporter).items()
                if source.startswith(".")
            ),
            "--volume=/var/lib/loadfleet",
            f"--volume={token}:/run/secrets/realload_token:ro",
        ]
        with image.engine.run(options=options) as container:
            await until(lambda: "geneva-01" in container.execute(*status)[1])
            _, kept = container.execute("ls", "/var/lib/loadfleet")
            healthy = container.healthy

    assert healthy
    assert "state" in kept


async def test_the_demo_is_the_simulated_fleet() -> None:
    """The demo's sources must be those of the simulation, under the containers' names."""
    fleet = rendered({})["services"]["fleet"]
    options = options_from(cli.parse(fleet["command"]))
    demo = yaml.safe_load((FOLDER / "demo.yml").read_text())
    ports = {
        "realload": options.realload_port,
        "blazemeter": options.blazemeter_port,
        "eggplant": options.eggplant_port,
    }

    async with Simulation(options_from(cli.parse(["simulate"]))) as simulation:
        offered = [
            yaml.safe_load(
                re.sub(
                    r"127\.0\.0\.1:\d+",
                    f"fleet:{ports[source['provider']]}",
                    yaml.safe_dump(source),
                )
            )
            for source in simulation.configuration()["sources"]
        ]

    assert offered == demo["sources"]
    assert "0.0.0.0" == options.host


@pytest.mark.parametrize(
    ("environ", "exporters"), [({}, EXPORTERS[:1]), (PAIR, EXPORTERS)], ids=["one", "pair"]
)
def test_prometheus_reaches_the_others(
    environ: dict[str, str], exporters: list[str], tmp_path: Path
) -> None:
    """Prometheus must take its configuration, and scrape each exporter that runs."""
    services = rendered(environ)["services"]
    inside = mounts(services["prometheus"])
    for name in ("prometheus.yml", "alerts.yml"):
        (tmp_path / name).write_text((FOLDER / inside[f"/etc/prometheus/{name}"]).read_text())

    checked = subprocess.run(
        [require("promtool"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == checked.returncode, checked.stdout + checked.stderr
    configuration = yaml.safe_load((tmp_path / "prometheus.yml").read_text())
    (job,) = configuration["scrape_configs"]
    assert [f"{name}:10871" for name in exporters] == job["static_configs"][0]["targets"]
    (manager,) = configuration["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert {*exporters, manager.partition(":")[0]} <= set(services)


def test_prometheus_is_set_up_as_elsewhere() -> None:
    """But for the names it must be the configuration that is tested with the rules."""
    ours, elsewhere, pair = (
        re.sub(r'"[\w-]+:(\d{4,5})"', r'"host:\1"', path.read_text())
        for path in (
            FOLDER / "prometheus.yml",
            FOLDER.parent / "prometheus" / "prometheus.yml",
            FOLDER / "pair-prometheus.yml",
        )
    )

    assert yaml.safe_load(elsewhere) == yaml.safe_load(ours)
    one_of_two = pair.replace('"host:10871", "host:10871"', '"host:10871"')
    assert yaml.safe_load(ours) == yaml.safe_load(one_of_two)


def test_the_page_names_what_is_there() -> None:
    """Its commands must be about this file, its services, its variables and its ports."""
    page = PAGE.with_name("compose.md").read_text()
    text = (FOLDER / "compose.yml").read_text()
    shells = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    blocks = [block.replace("\\\n", " ") for block in shells]
    calls = [
        shlex.split(line.partition("docker compose ")[2])
        for block in blocks
        for line in block.splitlines()
        if "docker compose " in line
    ]
    services = rendered({})["services"]
    published = [port.split(":")[1] for name in ADDRESSES for port in services[name]["ports"]]

    assert {"deploy/compose/compose.yml"} == {file for _, file, *_ in calls}
    assert {"up", "exec", "logs", "down"} == {verb for _, _, verb, *_ in calls}
    assert [["exporter"]] * 2 == [
        [word for word in words if word in services]
        for _, _, verb, *words in calls
        if verb in {"exec", "logs"}
    ]
    assert [] == [
        name for name in re.findall(r"\b(LOADFLEET_\w+)=", page) if f"${{{name}:" not in text
    ]
    assert published == re.findall(r"^\| \w+ \| `http://localhost:(\d+)` ", page, re.MULTILINE)
    assert [NAME] == [word for block in blocks for word in block.split() if "ghcr.io/" in word]


def test_grafana_finds_its_dashboards_and_its_data() -> None:
    """The provisioning must look where the dashboards are mounted and for the service's name."""
    services = rendered({})["services"]
    provider = yaml.safe_load(next(GRAFANA.glob("provisioning/dashboards/*.y*ml")).read_text())
    source = yaml.safe_load(next(GRAFANA.glob("provisioning/datasources/*.y*ml")).read_text())
    inside = mounts(services["grafana"])

    assert "../../grafana/provisioning" == inside["/etc/grafana/provisioning"]
    (path,) = {entry["options"]["path"] for entry in provider["providers"]}
    assert "../../grafana/dashboards" == inside[path]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (GRAFANA / "dashboards" / home.removeprefix(f"{path}/")).is_file()
    assert ["http://prometheus:9090"] == [entry["url"] for entry in source["datasources"]]


class TestHighAvailability:
    def test_it_is_asked_for(self) -> None:
        """Without the profile nothing of it runs, and the one exporter needs no store."""
        services = rendered({})["services"]

        profiles = {name: each["profiles"] for name, each in services.items() if "profiles" in each}

        assert {"exporter-2", "valkey"} == set(profiles)
        assert all(each == ["high-availability"] for each in profiles.values())
        assert not services["exporter"]["environment"]["LOADFLEET_STATE__URL"]
        assert services["exporter"]["depends_on"]["valkey"]["required"] is False

    def test_the_page_asks_for_it(self) -> None:
        """Its command names this file, the profile, and the variable that gives the password."""
        _, command, _ = commands("Set up a pair", PAGE.with_name("high-availability.md"))
        variable, *words = shlex.split(command.replace("\\\n", ""))

        assert [variable.partition("=")[0]] == list(PAIR)
        assert "docker compose -f deploy/compose/compose.yml --profile high-availability" in (
            " ".join(words)
        )

    def test_both_exporters_are_the_same(self) -> None:
        """Only exporters with one configuration and one store are a pair."""
        one, other = (rendered(PAIR)["services"][name] for name in EXPORTERS)
        own = {"ports", "profiles"}

        assert {k: v for k, v in one.items() if k not in own} == {
            k: v for k, v in other.items() if k not in own
        }

    @pytest.mark.parametrize("name", EXPORTERS)
    def test_they_find_the_store(self, name: str, tmp_path: Path) -> None:
        """The exporters' environment must be valid settings, and point to the store's service."""
        compose = rendered(PAIR)
        inside = dict(compose["services"][name]["environment"])
        password = inside["LOADFLEET_STATE__PASSWORD_FILE"].removeprefix("/run/secrets/")
        (tmp_path / "password").write_text("invented\n")
        inside["LOADFLEET_STATE__PASSWORD_FILE"] = str(tmp_path / "password")
        del inside["LOADFLEET_CONFIG_FILE"]

        state = load(FOLDER / "demo.yml", environ=inside).settings.state

        assert "redis://valkey:6379/0" == str(state.url)
        assert tmp_path / "password" == state.password_file
        assert password in compose["services"][name]["secrets"]
        assert password in compose["services"]["valkey"]["secrets"]
        assert "/home/me/password" == compose["secrets"][password]["file"]

    def test_the_store_is_closed(self) -> None:
        """The store must publish no port, and write to its volume only."""
        store = rendered(PAIR)["services"]["valkey"]

        assert "ports" not in store
        assert "environment" not in store
        assert store["read_only"] is True
        assert ["ALL"] == store["cap_drop"]
        assert "0" != store["user"].partition(":")[0]
        assert {"/data"} == set(mounts(store))

    @pytest.mark.slow
    @pytest.mark.parametrize("program", PROGRAMS)
    async def test_the_store_starts_as_it_must(self, program: str, tmp_path: Path) -> None:
        """The store's command must start a fitting server, and its health check succeed."""
        service = rendered(PAIR)["services"]["valkey"]
        script = service["command"][0].replace("$$", "$")
        kind, health = service["healthcheck"]["test"]

        async with valkey.started(program, script, health, tmp_path) as store:
            assert "CMD-SHELL" == kind
            await valkey.check(store)

    def test_the_store_wants_a_password(self, tmp_path: Path) -> None:
        """An empty file must not become an empty password."""
        script = rendered({})["services"]["valkey"]["command"][0].replace("$$", "$")
        (tmp_path / "empty").touch()

        ended = subprocess.run(
            ["sh", "-euc", script.replace("/run/secrets/valkey_password", f"{tmp_path}/empty")],
            capture_output=True,
            text=True,
            check=False,
        )

        assert 1 == ended.returncode
        assert "no password: set LOADFLEET_VALKEY_PASSWORD_FILE\n" == ended.stderr
