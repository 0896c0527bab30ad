"""The shipped Alertmanager, with the test in place of the pagers behind it.

A receiver's PagerDuty and Slack stay as shipped and show what a person reads. A webhook beside them
shows which alerts a notification is about.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exporter.alerts.rule import PREFIX
from exporter.config.types import parse_duration
from tests.support.processes import answers, free_port, running
from tests.support.servers import require


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request


DEPLOY = Path(__file__).parents[2] / "deploy"

#: A notification that rings, one that only adds to an open incident, and one that ends it.
NEW, UPDATE, RESOLVED = "new", "update", "resolved"

#: The labels that name an alert's target, the narrowest first.
_TARGETS = (
    "agent_id",
    "member_id",
    "cluster_id",
    "controller",
    "recorder_id",
    "run_id",
    "suite_id",
    "location_id",
    "task",
    "kind",
    "preflight",
    "instance",
)

#: The prefix of jobs, before the name of the scenario whose exporter they scrape.
JOB = "loadfleet"


class Told(NamedTuple):
    """A notification.

    Attributes:
        receiver: `page` for critical alerts, `work` for warnings.
        status: `new`, `update` or `resolved`.
        alerts: The names of its alerts without the prefix, each once, joined by `+`.
        targets: The ids of the targets, one for each line that a person reads.
    """

    receiver: str
    status: str
    alerts: str
    targets: tuple[str, ...]


def page(status: str, alerts: str, *targets: str) -> Told:
    """Return a notification about critical alerts."""
    return Told("page", status, alerts, targets)


def work(status: str, alerts: str, *targets: str) -> Told:
    """Return a notification about warnings."""
    return Told("work", status, alerts, targets)


class Pager:
    """The receivers of one Alertmanager.

    Attributes:
        hear: Called with each notification and its scenario.
        notifications: The webhooks' requests: receiver and body.
        incidents: The requests to PagerDuty.
        messages: The requests to Slack.
        beats: The number of heartbeats of each exporter.
    """

    def __init__(self, hear: Callable[[str, Told], None]) -> None:
        self.hear = hear
        self.notifications: list[tuple[str, dict[str, Any]]] = []
        self.incidents: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.beats: Counter[str] = Counter()
        self._open: set[tuple[str, str]] = set()

    def app(self) -> Starlette:
        """Return the receivers."""
        return Starlette(
            routes=[
                Route("/pagerduty", self._pagerduty, methods=["POST"]),
                Route("/beat/{exporter}", self._beat),
                Route("/slack", self._slack, methods=["POST"]),
                Route("/{receiver}", self._webhook, methods=["POST"]),
            ]
        )

    def of(self, scenario: str, receiver: str) -> list[dict[str, Any]]:
        """Return the alerts of a scenario that a receiver got, as Alertmanager sent them."""
        return [
            alert
            for name, notification in self.notifications
            for alert in notification["alerts"]
            if name == receiver and scenario == _scenario(alert)
        ]

    async def _beat(self, request: Request) -> Response:
        self.beats[request.path_params["exporter"]] += 1
        return Response()

    async def _pagerduty(self, request: Request) -> Response:
        self.incidents.append(await request.json())
        return JSONResponse({"status": "success", "message": "", "dedup_key": ""}, status_code=202)

    async def _slack(self, request: Request) -> Response:
        self.messages.append(await request.json())
        return Response("ok")

    async def _webhook(self, request: Request) -> Response:
        receiver, notification = request.path_params["receiver"], await request.json()
        self.notifications.append((receiver, notification))
        status = self._status(receiver, notification)
        alerts = notification["alerts"]
        if status != RESOLVED:
            alerts = [each for each in alerts if each["status"] == "firing"]
        for scenario in dict.fromkeys(_scenario(each) for each in alerts):
            about = [each for each in alerts if scenario == _scenario(each)]
            names = sorted({each["labels"]["alertname"].removeprefix(PREFIX) for each in about})
            targets = tuple(sorted(target for each in about if (target := _target(each))))
            self.hear(scenario, Told(receiver, status, "+".join(names), targets))
        return Response()

    def _status(self, receiver: str, notification: dict[str, Any]) -> str:
        group = (receiver, notification["groupKey"])
        if notification["status"] == "resolved":
            self._open.discard(group)
            return RESOLVED
        if group in self._open:
            return UPDATE
        self._open.add(group)
        return NEW


def _scenario(alert: dict[str, Any]) -> str:
    labels = alert["labels"]
    job: str = labels.get("job", "")
    # A scenario's preflights are called by its name, a slash and more.
    preflight, _, _ = labels.get("preflight", "").partition("/")
    source: str = labels.get("source", "") or preflight or job.removeprefix(JOB).lstrip("-")
    return source


def _target(alert: dict[str, Any]) -> str:
    found = (alert["labels"].get(name, "") for name in _TARGETS)
    return next((target for target in found if target), "")


@asynccontextmanager
async def alertmanager(folder: Path, recorder: str) -> AsyncIterator[str]:
    """Run the deployed Alertmanager with short times and the test's receivers.

    Args:
        folder: Where its files go.
        recorder: The URL of the pager.
    """
    configuration = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    del configuration["global"]  # it holds what mail and chat need
    _hasten(configuration["route"])
    configuration["receivers"] = [_recorded(each, recorder) for each in configuration["receivers"]]
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    async with running(
        require("prometheus-alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        folder=folder,
        name="alertmanager",
    ) as process:
        url = f"http://127.0.0.1:{port}"
        await answers(f"{url}/-/ready", process)
        yield url


def _hasten(route: dict[str, Any]) -> None:
    """Wait a second instead of minutes, and never repeat a notification."""
    hastened = {"group_wait": "1s", "group_interval": "1s"}
    route |= {name: "1s" for name in hastened if name in route}
    if "repeat_interval" in route and parse_duration(route["repeat_interval"]) < 3600:
        route["repeat_interval"] = "1s"
    for each in route.get("routes", ()):
        _hasten(each)


def _recorded(receiver: dict[str, Any], recorder: str) -> dict[str, Any]:
    """Return a receiver whose notifications go to the pager with their own texts."""
    name = receiver["name"]
    pagers = [
        {key: value for key, value in each.items() if key != "routing_key_file"}
        | {"url": f"{recorder}/pagerduty", "routing_key": "invented"}
        for each in receiver.get("pagerduty_configs", ())
    ]
    chats = [
        {key: value for key, value in each.items() if key != "api_url_file"}
        | {"api_url": f"{recorder}/slack"}
        for each in receiver.get("slack_configs", ())
    ]
    if len(receiver) == 1:
        return receiver
    ends = any(
        each.get("send_resolved", kind not in ("slack_configs", "email_configs"))
        for kind, configurations in receiver.items()
        if kind != "name"
        for each in configurations
    )
    hooks = [{"url": f"{recorder}/{name}", "send_resolved": ends}]
    return {
        "name": name,
        "pagerduty_configs": pagers,
        "slack_configs": chats,
        "webhook_configs": hooks,
    }
