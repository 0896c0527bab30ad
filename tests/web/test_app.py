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


@pytest.mark.parametrize("path", [*PATHS, "/nowhere", "/sd/agents", "/api/v1/history", "/probe"])
async def test_no_cache_shows_what_was(path: str) -> None:
    """Answers must not be cached: they must be validated or fetched each time."""
    async with fakes.browsing(fakes.FakeView()) as client:
        answer = await client.get(path)

    told = answer.headers["cache-control"].split(", ")
    assert told[0] == ("no-cache" if "etag" in answer.headers else "no-store")


async def test_a_file_that_the_viewer_has_is_not_sent_again() -> None:
    """A static file must be confirmed by its tag, and not be sent again."""
    async with fakes.browsing(fakes.FakeView()) as client:
        first = await client.get("/static/style.css")
        client.headers["If-None-Match"] = first.headers["etag"]
        again = await client.get("/static/style.css")

    assert (304, "no-cache") == (again.status_code, again.headers["cache-control"])


@pytest.mark.parametrize("path", ["/", "/metrics", "/runbooks/"])
@pytest.mark.parametrize("refused", ["identity;q=0, gzip;q=0", "*;q=0"])
async def test_who_takes_no_form_gets_none(path: str, refused: str) -> None:
    """A client that refuses both gzip and the plain page must get 406."""
    async with fakes.browsing(fakes.FakeView()) as client:
        client.headers["Accept-Encoding"] = refused
        answer = await client.get(path)

    assert (406, "Accept-Encoding") == (answer.status_code, answer.headers["vary"])
    assert "gzip" in answer.text


@pytest.mark.parametrize("path", ["/", "/runbooks/"])
async def test_a_small_page_is_packed_for_who_wants_no_other(path: str) -> None:
    """Without `identity` there is but gzip, however little it saves."""
    async with fakes.browsing(fakes.FakeView()) as client:
        client.headers["Accept-Encoding"] = "identity"
        plain = await client.get(path)
        client.headers["Accept-Encoding"] = "identity;q=0"
        packed = await client.get(path)

    assert (None, "gzip") == (
        plain.headers.get("content-encoding"),
        packed.headers.get("content-encoding"),
    )
    assert plain.content == packed.content
    assert plain.headers["etag"] != packed.headers["etag"]


@pytest.mark.parametrize("path", PATHS)
async def test_other_methods_are_refused(path: str) -> None:
    """Other methods than GET and HEAD must be refused with 405."""
    async with fakes.browsing(fakes.FakeView()) as client:
        answer = await client.post(path)

    assert (405, {"GET", "HEAD"}) == (answer.status_code, set(answer.headers["allow"].split(", ")))


@pytest.mark.parametrize("path", ["/nowhere", "/metrics/", "/-/nowhere", "/static/../app.py"])
async def test_unknown_paths_are_not_found(path: str) -> None:
    """An unknown path must be 404, without a redirect and without being repeated."""
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
