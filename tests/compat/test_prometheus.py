"""The generations of Prometheus and Alertmanager: they take the files, the pages and the alerts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.compat.fleet import beside, fleet, front, shipped
from tests.rules.support import COMMITTED, DEPLOY, run
from tests.support.processes import fetch
from tests.support.prometheus import prometheus
from tests.support.versions import note
from tests.support.wait import until


if TYPE_CHECKING:
    from pathlib import Path


#: Formats that a job can ask for, by the first version of Prometheus that knows them.
PROTOCOLS = {
    (2, 49): ("OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText0.0.4"),
    (3, 0): ("PrometheusText1.0.0",),
}

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

#: Prometheus' counters of samples that it did not accept unchanged.
REJECTED = (
    r"prometheus_target_scrapes_(?:sample_.+|exceeded_.+)_total"
    r"|prometheus_rule_evaluation_failures_total"
    r"|prometheus_(?:sd_http_failures|notifications_errors)_total"
)


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "rules", "--lint=all", "--lint-fatal", COMMITTED),
        ("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml"),
        ("promtool", "check", "config", "--agent", DEPLOY / "prometheus" / "agent.yml"),
        ("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml"),
    ],
    ids=lambda command: "-".join(map(str, command[:3])),
)
def test_its_tools_take_the_shipped_files(generation: str, command: tuple[str | Path, ...]) -> None:
    """The tools of each supported Prometheus must accept the shipped files."""
    result = run(str(command[0]), *command[1:])

    assert 0 == result.returncode, result.stdout + result.stderr


@pytest.mark.timeout(180)
async def test_it_knows_the_fleet_and_pages(generation: str, tmp_path: Path) -> None:
    """Each Prometheus must take every series in each format, and page for an agent that is down."""
    version = note(generation, "prometheus", "prometheus-alertmanager")
    protocols = [name for since, names in PROTOCOLS.items() if since <= version for name in names]
    async with fleet(tmp_path) as it, front(it.target) as between:
        configuration = shipped(tmp_path, it)
        jobs = configuration["scrape_configs"]
        jobs[0]["static_configs"][0]["targets"] = [between.address]
        jobs += [beside(name, it.target, scrape_protocols=[name]) for name in protocols]
        discovery = {"url": f"http://{it.target}/sd/agents?port=9100"}
        jobs.append({"job_name": "hosts", "http_sd_configs": [discovery]})
        async with prometheus(tmp_path, configuration) as server:
            for job in ("loadfleet", *protocols):
                await it.until_known(server, job)
            assert {OPENMETRICS} == {re.sub("; escaping=.*", "", each) for each in between.formats}
            listed = json.loads(await fetch(discovery["url"]))
            hosts = {target for group in listed for target in group["targets"]}

            async def discovered() -> bool:
                return hosts == (await server.targets("hosts")).keys()

            await until(discovered)

            await it.page_an_agent(server)

            page = await fetch(f"http://{it.target}/metrics")
            checked = run("promtool", "check", "metrics", stdin=page)
            assert (0, "") == (checked.returncode, checked.stdout + checked.stderr)
            rules = json.loads(await fetch(f"{server.url}/api/v1/rules"))["data"]["groups"]
            assert {"ok"} == {rule["health"] for group in rules for rule in group["rules"]}
            own = await fetch(f"{server.url}/metrics")
            counted = re.findall(rf"^(?:{REJECTED})(?:{{.*}})? .*$", own, re.MULTILINE)
            assert counted
            assert [] == [line for line in counted if not line.endswith(" 0")]
            log = (tmp_path / "prometheus.err").read_text()
            assert [] == [
                line
                for line in log.splitlines()
                if re.search("level=(warn|error)", line, re.IGNORECASE)
            ]
