"""VictoriaMetrics in the place of Prometheus: a single node scrapes, vmalert judges."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.compat.fleet import fleet, shipped
from tests.dashboards.test_answers import complaints, watched
from tests.rules.support import DEPLOY, run
from tests.support.processes import fetch
from tests.support.versions import note
from tests.support.victoria import victoria


if TYPE_CHECKING:
    from pathlib import Path


# Debian has VictoriaMetrics since 13.
pytestmark = pytest.mark.generations("next", "newest")

PROMETHEUS = DEPLOY / "prometheus" / "prometheus.yml"

#: A sample is visible up to two seconds after its scrape, and rules must bridge more than that.
SCALE = 0.05

#: Keys of prometheus.yml for Prometheus alone; vmalert has flags for them.
FOREIGN = ("evaluation_interval", "rule_files", "alerting")


def test_its_tools_take_the_shipped_files(generation: str) -> None:
    """The rules are read, and of prometheus.yml what is not for Prometheus alone."""
    rules = run("vmalert", "-dryRun", f"-rule={DEPLOY / 'victoriametrics' / 'alerts.yml'}")
    scraped = f"-promscrape.config={PROMETHEUS}"
    strictly = run("victoria-metrics", "-dryRun", scraped)
    else_ = run("victoria-metrics", "-dryRun", scraped, "-promscrape.config.strictParse=false")

    assert 0 == rules.returncode, rules.stdout + rules.stderr
    assert 0 != strictly.returncode
    told = strictly.stdout + strictly.stderr
    assert len(FOREIGN) == told.count(" not found in type ")
    assert all(f"field {name} not found" in told for name in FOREIGN)
    assert 0 == else_.returncode, else_.stdout + else_.stderr


@pytest.mark.timeout(180)
async def test_it_knows_the_fleet_and_pages(generation: str, tmp_path: Path) -> None:
    """VictoriaMetrics must take every series, evaluate each rule, and page."""
    note(generation, "victoria-metrics", "prometheus-alertmanager")
    async with fleet(tmp_path) as it:
        configuration = shipped(tmp_path, it, scale=SCALE) | {"rule_files": ["victoria.yml"]}
        async with victoria(tmp_path, configuration) as server:
            await it.until_known(server, "loadfleet")
            await it.page_an_agent(server, to_its_end=False)

            rules = json.loads(await fetch(f"{server.vmalert}/api/v1/rules"))["data"]["groups"]
            assert {"ok"} == {rule["health"] for group in rules for rule in group["rules"]}


@pytest.mark.timeout(180)
async def test_every_query_of_the_dashboards_has_an_answer(generation: str, tmp_path: Path) -> None:
    """A panel shows as much as over Prometheus, and its legends say of what."""
    note(generation, "victoria-metrics")
    async with watched(tmp_path, victoria) as asked:
        wrong = await complaints(asked)

    assert [] == wrong
