from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import bcrypt
import httpx
import pytest
import yaml

from exporter.web.access.gate import SECURITY_HEADERS, Gate
from exporter.web.access.security import WebSecurity
from exporter.web.app import create_app
from tests.support.clock import FakeClock
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


USERS = {"alice": bcrypt.hashpw("straße".encode(), bcrypt.gensalt(4)).decode()}
ALICE = httpx.BasicAuth("alice", "straße")


@asynccontextmanager
async def guarded(
    folder: Path, *, clock: FakeClock | None = None, prefix: str = "", **demands: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of the app behind a gate."""
    path = folder / "web.yml"
    path.write_text(yaml.safe_dump(demands))
    security = WebSecurity(path, clock=(clock or FakeClock()).clock)
    app = create_app(fakes.FakeView(), route_prefix=prefix)
    transport = httpx.ASGITransport(Gate(app, security, route_prefix=prefix))
    async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
        yield client


class TestUsers:
    @pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/config", "/nowhere"])
    async def test_nothing_is_served_without_a_password(self, tmp_path: Path, path: str) -> None:
        """Every path must demand the password, also those that do not exist."""
        async with guarded(tmp_path, basic_auth_users=USERS) as client:
            answer = await client.get(path)

        assert (401, "Basic") == (answer.status_code, answer.headers["www-authenticate"])

    async def test_the_right_password_opens(self, tmp_path: Path) -> None:
        """A user with any characters in the password gets the page."""
        async with guarded(tmp_path, basic_auth_users=USERS) as client:
            answer = await client.get("/metrics", auth=ALICE)

        assert (200, "up 1\n") == (answer.status_code, answer.text)

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Basic",
            "Basic ",
            "Basic =",
            "Basic YWxpY2U=",
            "Basic \xff\xfe",
            "Basic YWxpY2U6d3Jvbmc=",
            "Basic /zrw",
            "Bearer YWxpY2U6c3RyYcOfZQ==",
        ],
    )
    async def test_odd_credentials_are_refused(self, tmp_path: Path, header: str) -> None:
        """Credentials of any form must be refused with 401, not cause an error."""
        async with guarded(tmp_path, basic_auth_users=USERS) as client:
            answer = await client.get(
                "/metrics", headers={b"Authorization": header.encode("latin-1")}
            )

        assert 401 == answer.status_code

    async def test_a_crowd_is_asked_to_come_again(self, tmp_path: Path) -> None:
        """When too many passwords wait, the answer says that trying again helps."""
        path = tmp_path / "web.yml"
        path.write_text(yaml.safe_dump({"basic_auth_users": USERS}))
        security = WebSecurity(path)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(Gate(create_app(fakes.FakeView()), security)),
            base_url="http://exporter",
        ) as client:
            asking = [
                asyncio.create_task(client.get("/", auth=("alice", str(number))))
                for number in range(60)
            ]
            answers = [answer.status_code for answer in await asyncio.gather(*asking)]

        assert {401, 503} == set(answers)


class TestRateLimit:
    async def test_too_many_requests_are_refused(self, tmp_path: Path) -> None:
        """After the burst, one request per interval must be admitted, from all clients together."""
        clock = FakeClock()
        limit = {"interval": "1s", "burst": 2}
        async with guarded(
            tmp_path, clock=clock, rate_limit=limit, basic_auth_users=USERS
        ) as client:
            answers = [await client.get("/metrics", auth=ALICE) for _ in range(2)]
            answers += [await client.get("/metrics"), await client.get("/metrics", auth=ALICE)]
            clock.shift(1.0)
            answers += [await client.get("/metrics", auth=ALICE)]

        assert [200, 200, 429, 429, 200] == [answer.status_code for answer in answers]
        assert "1" == answers[2].headers["retry-after"]

    @pytest.mark.parametrize("prefix", ["", "/fleet"])
    async def test_probes_of_the_process_are_not_counted(self, tmp_path: Path, prefix: str) -> None:
        """An exporter that is asked too much must not be restarted for it."""
        limit = {"interval": "1h", "burst": 1}
        async with guarded(tmp_path, prefix=prefix, rate_limit=limit) as client:
            spent = [(await client.get(f"{prefix}/metrics")).status_code for _ in range(2)]
            paths = [f"{prefix}/-/healthy", f"{prefix}/-/ready"]
            alive = [(await client.get(path)).status_code for path in paths]

        assert [200, 429] == spent
        assert [200, 200] == alive

    async def test_guessing_is_counted_everywhere(self, tmp_path: Path) -> None:
        """The way around the limit must not be open to whoever guesses passwords."""
        limit = {"interval": "1h", "burst": 2}
        async with guarded(tmp_path, rate_limit=limit, basic_auth_users=USERS) as client:
            answers = [
                (await client.get("/-/healthy", auth=("alice", str(number)))).status_code
                for number in range(3)
            ]
            known = (await client.get("/-/healthy", auth=("alice", "0"))).status_code

        assert [401, 401, 429] == answers
        assert 401 == known


class TestHeaders:
    async def test_the_file_goes_over_our_own(self, tmp_path: Path) -> None:
        """Configured headers must be sent with every answer, also with refusals, unless blank."""
        headers = {
            "Strict-Transport-Security": "max-age=31536000",
            "X-Frame-Options": "sameorigin",
            "Content-Security-Policy": "",
        }
        async with guarded(
            tmp_path, http_server_config={"headers": headers}, basic_auth_users=USERS
        ) as client:
            answers = [await client.get("/"), await client.get("/", auth=ALICE)]

        for answer in answers:
            assert "max-age=31536000" == answer.headers["strict-transport-security"]
            assert "sameorigin" == answer.headers["x-frame-options"]
            assert "nosniff" == answer.headers["x-content-type-options"]
            assert "content-security-policy" not in answer.headers

    async def test_refusals_carry_our_own(self, tmp_path: Path) -> None:
        """An answer that never reached the app is as careful as the others."""
        async with guarded(tmp_path, basic_auth_users=USERS) as client:
            answer = await client.get("/")

        sent = {name: answer.headers.get(name) for name in SECURITY_HEADERS}
        assert SECURITY_HEADERS == sent


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/config",
        "/api/v1/targets",
        "/badge/fleet.svg",
        "/-/healthy",
        "/nowhere",
        "/static/style.css",
    ],
)
async def test_every_answer_has_the_security_headers(path: str) -> None:
    """Pages, files and errors alike carry the headers."""
    async with fakes.browsing(fakes.FakeView()) as client:
        answer = await client.get(path)

    assert SECURITY_HEADERS == {name: answer.headers.get(name) for name in SECURITY_HEADERS}


async def test_failures_have_the_security_headers() -> None:
    """An error must be plain text with the security headers, and quote nothing."""

    class Broken(fakes.FakeView):
        @property
        def ready(self) -> bool:
            raise RuntimeError("canary")

        @ready.setter
        def ready(self, value: bool) -> None:
            pass

    async with fakes.browsing(Broken()) as client:
        answer = await client.get("/-/ready")

    assert (500, "500 Internal Server Error. The log says more.\n") == (
        answer.status_code,
        answer.text,
    )
    assert SECURITY_HEADERS == {name: answer.headers.get(name) for name in SECURITY_HEADERS}


class TestOwnPages:
    """Requests that cost a vendor call or change something."""

    REQUESTS = (("GET", "/probe?source=prod&kind=agent&id=id-agent-1"), ("POST", "/-/reload"))

    @staticmethod
    async def ask(view: fakes.FakeView, method: str, path: str, site: str | None) -> httpx.Response:
        headers = {} if site is None else {"Sec-Fetch-Site": site}
        async with fakes.browsing(view, lifecycle=True) as client:
            return await client.request(method, path, headers=headers)

    @pytest.mark.parametrize(("method", "path"), REQUESTS)
    @pytest.mark.parametrize("site", ["cross-site", "same-site", "", "None", "none, none"])
    async def test_the_pages_of_others_cause_nothing(
        self, method: str, path: str, site: str
    ) -> None:
        """An image or a form on any web page must neither call a vendor nor change anything."""
        view = fakes.FakeView(fakes.agent())

        answer = await self.ask(view, method, path, site)

        assert (403, [], 0) == (answer.status_code, view.explained, view.reloads)
        assert "use the exporter's own pages" in answer.text

    @pytest.mark.parametrize(("method", "path"), REQUESTS)
    @pytest.mark.parametrize("site", [None, "none", "same-origin"])
    async def test_programs_people_and_the_board_do(
        self, method: str, path: str, site: str | None
    ) -> None:
        """A scraper sends no such header, a typed address `none`, a link of the board its own."""
        view = fakes.FakeView(fakes.agent())

        answer = await self.ask(view, method, path, site)

        assert (200, 1) == (answer.status_code, len(view.explained) + view.reloads)

    async def test_what_only_reads_is_linked_from_anywhere(self) -> None:
        """A link in a chat or a wiki leads to the board."""
        answer = await self.ask(fakes.FakeView(), "GET", "/", "cross-site")

        assert 200 == answer.status_code
