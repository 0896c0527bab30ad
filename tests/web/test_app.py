from __future__ import annotations

from urllib.parse import urljoin

import pytest

from tests.support.markup import parse
from tests.web import fakes


PATHS = (
    "/",
    "/metrics",
    "/config",
    "/runbooks/",
    "/runbooks/LoadFleetSourceDown.md",
    "/api/v1/targets",
    "/api/v1/sources",
    "/api/v1/problems",
    "/api/v1/status",
    "/badge/fleet.svg",
    "/badge/target.svg",
    "/-/healthy",
    "/-/ready",
    "/static/style.css",
)


@pytest.mark.parametrize("path", PATHS)
async def test_head_works_everywhere(path: str) -> None:
    """HEAD is answered like GET, without the body."""
    async with fakes.browsing(fakes.FakeView()) as client:
        answer = await client.head(path)

    assert (200, b"") == (answer.status_code, answer.content)


@pytest.mark.parametrize("path", PATHS)
async def test_other_methods_are_refused(path: str) -> None:
    """What only reads says so to whoever wants to write."""
    async with fakes.browsing(fakes.FakeView()) as client:
        answer = await client.post(path)

    assert (405, {"GET", "HEAD"}) == (answer.status_code, set(answer.headers["allow"].split(", ")))


@pytest.mark.parametrize("path", ["/nowhere", "/metrics/", "/-/nowhere", "/static/../app.py"])
async def test_unknown_paths_are_not_found(path: str) -> None:
    """There is nothing but the known paths, and no redirect to a near one."""
    async with fakes.browsing(fakes.FakeView()) as client:
        answer = await client.get(path)

    assert (404, "text/plain; charset=utf-8") == (
        answer.status_code,
        answer.headers["content-type"],
    )
    assert path not in answer.text


@pytest.mark.parametrize("prefix", ["", "/", "/fleet", "fleet/", "/team/fleet"])
async def test_every_link_holds_below_the_prefix(prefix: str) -> None:
    """All links of the page lead somewhere, wherever it is mounted."""
    home = f"/{prefix.strip('/')}/".replace("//", "/")

    async with fakes.browsing(fakes.FakeView(), route_prefix=prefix) as client:
        page = await client.get(home)
        links = [
            value
            for element in parse(page.text).everything()
            for name, value in element.attributes.items()
            if name in {"href", "src", "action"}
        ]
        answers = {link: (await client.get(urljoin(home, link))).status_code for link in links}

    assert dict.fromkeys(links, 200) == answers
    assert {"metrics", "config", "-/healthy", "api/v1/targets", "api/v1/sources"} <= set(links)


@pytest.mark.parametrize("path", ["/", "/team/fleet"])
async def test_leads_to_the_prefix(path: str) -> None:
    """The root and the prefix without its slash lead to the page by a relative redirect."""
    async with fakes.browsing(fakes.FakeView(), route_prefix="/team/fleet") as client:
        answer = await client.get(path)

    assert (302, "/team/fleet/") == (answer.status_code, urljoin(path, answer.headers["location"]))


async def test_nothing_outside_of_the_prefix() -> None:
    """With a prefix, the bare paths are gone."""
    async with fakes.browsing(fakes.FakeView(), route_prefix="/fleet") as client:
        answer = await client.get("/metrics")

    assert 404 == answer.status_code
