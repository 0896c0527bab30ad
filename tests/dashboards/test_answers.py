"""Every query of the dashboards, asked of a real Prometheus that scraped the demo's fleet."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from exporter.alerts.formats import RulesOptions, rules_file
from exporter.alerts.recording import STATE, UP
from exporter.alerts.settings import AlertingSettings
from exporter.clock import SYSTEM_CLOCK
from exporter.metrics import catalogue as c
from exporter.metrics import own
from exporter.simulator.options import SimulatorOptions
from exporter.simulator.server import serve
from exporter.sources.registry import FAMILIES
from tests.dashboards.boards import (
    BOARDS,
    Panel,
    filled,
    in_braces,
    marks,
    of_cells,
    panels,
    shown,
    variables,
)
from tests.dashboards.grammar import selectors
from tests.support import locust, selenium
from tests.support.processes import EXPORTER, announced, answers, daemon, fetch, free_port, running
from tests.support.prometheus import Prometheus, prometheus, scraping
from tests.support.servers import require
from tests.support.wait import until


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.dashboards.boards import Json


#: Variables for a scrape each second, so that rates need little history.
BUILT_IN = {"__rate_interval": "10s", "__range": "1m", "__interval": "1s"}

#: A simulation 60 times as fast as real time, so that runs begin and end during the test.
FLEET = ("--pace=60", "--fault-rate=0.03")

#: A window that lasts all day.
ALWAYS = {"before": "00:00", "for": "1d"}

#: A user's own label, which every series of a target has.
SITE = "site"

#: The instance of another program.
OTHER = "another-program"

Series = dict[str, str]


class Asked(Prometheus):
    """A Prometheus that gets the dashboards' queries."""

    async def series(self, expression: str, *, instant: bool) -> list[Series]:
        """Return the labels of a query's series, now or over the last minute."""
        now = time.time()
        when = {"time": now} if instant else {"start": now - 60, "end": now, "step": 1}
        text = filled(expression, built_in=BUILT_IN)
        query = urllib.parse.urlencode({"query": text, **when})
        path = "query" if instant else "query_range"
        reply = json.loads(await fetch(f"{self.url}/api/v1/{path}?{query}"))
        assert "success" == reply["status"], (text, reply)
        found: list[dict[str, Any]] = reply["data"]["result"]
        return [each["metric"] for each in found]

    async def offered(self, label: str, selector: str) -> list[str]:
        """Return the values of a variable."""
        query = urllib.parse.urlencode({"match[]": filled(selector)})
        reply = json.loads(await fetch(f"{self.url}/api/v1/label/{label}/values?{query}"))
        found: list[str] = reply["data"]
        return found


@asynccontextmanager
async def watched(folder: Path, run: Callable[..., Any] = prometheus) -> AsyncIterator[Asked]:
    """Run a fleet with problems, the daemon that watches it, and Prometheus.

    Args:
        folder: The folder of their files.
        run: Runs Prometheus, or a server in its place.
    """
    alerting = AlertingSettings.model_validate({"thresholds": {"for_scale": 0}})
    text = rules_file(alerting.rules(), RulesOptions.of(alerting))
    (folder / "alerts.yml").write_text(text)
    (folder / "certificates.yml").write_text(json.dumps(certificates()))
    port = free_port()
    async with running(
        *EXPORTER, "simulate", f"--realload-port={port}", *FLEET, folder=folder, name="simulator"
    ) as simulator:
        portal = f"http://127.0.0.1:{port}"
        await answers(f"{portal}/_control", simulator)
        data = await announced(simulator)
        async with (
            generators(data),
            daemon(folder, configuration(data)) as (url, process),
        ):
            wanted = scraping(url.removeprefix("http://")) | {
                "rule_files": ["alerts.yml", "certificates.yml"]
            }
            own = free_port()
            # Another program, which must not show up.
            other = {"targets": [f"127.0.0.1:{own}"], "labels": {"instance": OTHER}}
            wanted["scrape_configs"].append({"job_name": "other", "static_configs": [other]})
            async with run(folder, wanted, port=own) as server:
                asked = Asked(server.url)
                await break_a_controller(asked, portal)
                yield asked
            assert "Traceback" not in process.errors


@asynccontextmanager
async def generators(data: Json) -> AsyncIterator[None]:
    """Serve a Locust and a Selenium Grid, and add them to the sources of a configuration."""
    async with AsyncExitStack() as stack:
        for name, vendor in (("locust", locust), ("selenium", selenium)):
            app = vendor.app(SimulatorOptions(), SYSTEM_CLOCK)
            username, _, password = vendor.TOKEN.partition(":")
            url = await stack.enter_async_context(serve(app))
            access = {"url": url, "username": username, "password": password}
            data["sources"].append({"provider": name, "name": name, **access})
        yield


def certificates() -> Json:
    """Return rules that record ends of certificates, since this fleet speaks plain HTTP."""
    labels = {
        own.WEB_CERTIFICATE_END: "job, instance",
        own.VENDOR_CERTIFICATE_END: "job, instance, provider, source",
    }
    recorded = [
        {"record": family.name, "expr": f"max by ({names}) ({c.SOURCE_UP.name}) * 0 + 2e9"}
        for family, names in labels.items()
    ]
    return {"groups": [{"name": "certificates", "rules": recorded}]}


async def break_a_controller(asked: Asked, portal: str) -> None:
    """Take a controller down, since simulated ones are always up."""
    found: list[Series] = []

    async def some() -> bool:
        nonlocal found
        found = await asked.series(c.CONTROLLER_UP.name, instant=True)
        return bool(found)

    await until(some)
    victim = found[-1]["controller"]
    await fetch(f"{portal}/_control", data={"change": {"controllers": {victim: {"up": False}}}})


def configuration(data: Json) -> Json:
    """Complete a configuration so that every panel has something to show."""
    data["defaults"] = {
        "interval": "1s",
        "timeout": "900ms",
        "stale_after": "10s",
        "retries": 0,
    }
    for source in data["sources"]:
        source["labels"] = {SITE: f"where {source['name']} is"}
    (portal,) = [source for source in data["sources"] if source["provider"] == "realload"]
    portal["tasks"] = {"jobs": "1s", "certificates": "1s"}
    data["preflights"] = [{"name": "nightly", "idle": True, "agents": {}, "window": ALWAYS}]
    data["alerting"] = {
        # Nobody listens there.
        "alertmanagers": [f"http://127.0.0.1:{free_port()}"],
        "evaluation_interval": "1s",
        "resend_interval": "1s",
        "thresholds": {"for_scale": 0},
    }
    return data


async def of_target(asked: Asked, panel: Panel, target: Json, columns: set[str]) -> list[str]:
    """Return the faults of the answer to a panel's query, and add its labels to columns."""
    series = await asked.series(target["expr"], instant=target["instant"])
    place = f"{panel} {target['refId']}"
    found = of_series(place, series, target["legendFormat"])
    columns |= {label for each in series for label in each}
    if panel.json["type"] == "stat" and 1 != len(series):
        found.append(f"{place}: it is not one number")
    if keeps_targets_apart(target["expr"]) and not all(SITE in each for each in series):
        found.append(f"{place}: a label of the users' own is lost")
    return found


async def of_columns(panel: Panel, columns: set[str]) -> list[str]:
    """Return the labels of a table that no row has had so far."""
    missing = (shown(panel.json) | of_cells(panel.json)) - columns
    return [f"{panel}: no row has {label}" for label in sorted(missing)]


def keeps_targets_apart(expression: str) -> bool:
    """Return whether a query shows vendors' targets, each by itself."""
    vendors = {family.name for family in FAMILIES} | {STATE, UP}
    sums = re.search(r"\b(sum|avg|count|max|min) ?(by|\()", expression)
    return not sums and {selector.name for selector in selectors(filled(expression))} <= vendors


async def of_mark(asked: Asked, place: str, mark: Json) -> list[str]:
    """Return the faults of the answer to an annotation's query."""
    series = await asked.series(mark["expr"], instant=False)
    return of_series(f"{place}: {mark['name']}", series, mark["textFormat"])


async def of_variable(asked: Asked, place: str, variable: Json) -> list[str]:
    """Return the faults of a variable's values."""
    query = variable["query"]["query"].removeprefix("label_values(")
    selector, label = query.removesuffix(")").rsplit(", ", 1)
    return [] if await asked.offered(label, selector) else [f"{place}: no values of {label}"]


def of_series(place: str, series: list[Series], legend: str) -> list[str]:
    """Return the faults of an answer: no series, no label for the legend, foreign series, twins."""
    found = [] if series else [f"{place}: there is no answer"]
    missing = {label for each in series for label in set(in_braces(legend)) - each.keys()}
    found += [f"{place}: the legend has no {label}" for label in sorted(missing)]
    if any(each.get("instance") == OTHER for each in series):
        found.append(f"{place}: it shows other programs")
    if len({tuple(sorted(each.items())) for each in series}) != len(series):
        found.append(f"{place}: two series have the same labels")
    return found


def checks(asked: Asked) -> list[Callable[[], Awaitable[list[str]]]]:
    """Return a check of each query; a check returns its present faults."""
    columns: defaultdict[str, set[str]] = defaultdict(set)
    return [
        # Each query by itself: a run of one vendor may have ended before another's begins.
        *(
            partial(of_target, asked, panel, target, columns[str(panel)])
            for panel in panels()
            for target in panel.json["targets"]
        ),
        *(
            partial(of_columns, panel, columns[str(panel)])
            for panel in panels()
            if panel.json["type"] == "table"
        ),
        *(
            partial(of_mark, asked, board["uid"], mark)
            for board in BOARDS.values()
            for mark in marks(board)
        ),
        *(
            partial(of_variable, asked, board["uid"], variable)
            for board in BOARDS.values()
            for variable in variables(board)
        ),
    ]


async def complaints(asked: Asked) -> list[str]:
    """Run all checks until each has passed once, and return the faults of the others."""
    open_checks = checks(asked)
    wrong: list[str] = []

    async def all_answered() -> bool:
        nonlocal open_checks
        wrong.clear()
        still_open = []
        for check in open_checks:
            if found := await check():
                wrong.extend(found)
                still_open.append(check)
        open_checks = still_open
        return not open_checks

    with suppress(TimeoutError):
        await until(all_answered, timeout_seconds=50)
    return wrong


@pytest.mark.timeout(180)
async def test_every_query_has_an_answer(tmp_path: Path) -> None:
    """A panel of the demo's fleet must show something, and its legends must say of what."""
    require("prometheus")
    async with watched(tmp_path) as asked:
        wrong = await complaints(asked)

    assert not wrong, "\n".join(wrong)
