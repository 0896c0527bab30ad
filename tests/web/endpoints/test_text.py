from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.settings.load import from_data, redacted
from exporter.web.endpoints.text import SLICE_BYTES, SlicedResponse, slices
from tests.web import fakes


if TYPE_CHECKING:
    from collections.abc import Sequence


async def get(view: fakes.FakeView, path: str = "/") -> str:
    """Return the text of a page."""
    async with fakes.browsing(view) as client:
        answer = await client.get(path)
    assert 200 == answer.status_code
    return answer.text


class TestMetrics:
    async def test_hands_on_what_is_asked_for(self) -> None:
        """Negotiation and filters reach the exposition as the client sent them."""
        view = fakes.FakeView()
        headers = {"Accept": "application/openmetrics-text", "Accept-Encoding": "gzip"}

        async with fakes.browsing(view) as client:
            await client.get("/metrics?name[]=a&name[]=b&source=prod", headers=headers)

        assert [
            {
                "accept": "application/openmetrics-text",
                "accept_encoding": "gzip",
                "names": ["a", "b"],
                "sources": ["prod"],
            }
        ] == view.asked

    async def test_sends_the_bytes_as_they_are(self) -> None:
        """The answer must have the exposition's type, encoding and body, and a `Vary` header."""
        view = fakes.FakeView()
        view.page = fakes.changed(
            view.page, content_type="text/plain; version=1.0.0", parts=(b"a ", b"1\n")
        )

        async with fakes.browsing(view) as client:
            answer = await client.get("/metrics")

        assert (b"a 1\n", "text/plain; version=1.0.0", "Accept, Accept-Encoding", None) == (
            answer.content,
            answer.headers["content-type"],
            answer.headers["vary"],
            answer.headers.get("content-encoding"),
        )

    async def test_names_the_encoding(self) -> None:
        """A compressed exposition says so."""
        view = fakes.FakeView()
        view.page = fakes.changed(view.page, content_encoding="gzip", parts=(b"",))

        async with fakes.browsing(view) as client:
            answer = await client.head("/metrics")

        assert "gzip" == answer.headers["content-encoding"]


class TestSlices:
    @given(
        st.lists(
            st.integers(0, 3)
            | st.sampled_from([SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES * 2 + 1]),
            max_size=8,
        )
    )
    def test_nothing_is_lost_and_no_slice_is_too_large(self, sizes: Sequence[int]) -> None:
        """The slices must be the parts' bytes in the same order."""
        parts = [bytes([number]) * size for number, size in enumerate(sizes)]

        cut = list(slices(parts))

        assert b"".join(parts) == b"".join(cut)
        assert all(len(piece) <= SLICE_BYTES for piece in cut)

    def test_small_parts_are_sent_together(self) -> None:
        """Thousands of pieces of a page must not become thousands of writes."""
        assert [b"abc" * 1000] == list(slices([b"abc"] * 1000))

    def test_large_parts_are_not_copied(self) -> None:
        """A page that is sent to many at once is in the memory once."""
        page = b"x" * (SLICE_BYTES + 1)

        first, second = slices([page])

        assert isinstance(first, memoryview)
        assert isinstance(second, memoryview)
        assert page is first.obj is second.obj

    @pytest.mark.parametrize(("method", "body"), [("GET", b"abcdef"), ("HEAD", b"")])
    async def test_answers_like_any_other(self, method: str, body: bytes) -> None:
        """Length and headers are as if the body had been in one part."""
        response = SlicedResponse([b"abc", b"def"], {"Content-Type": "text/plain"})
        transport = httpx.ASGITransport(response)

        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            answer = await client.request(method, "/")

        assert (200, body) == (answer.status_code, answer.content)
        assert ("text/plain", "6") == (
            answer.headers["content-type"],
            answer.headers["content-length"],
        )


class TestHealth:
    @pytest.mark.parametrize(("healthy", "status"), [(True, 200), (False, 503)])
    async def test_is_about_the_heartbeat(self, healthy: bool, status: int) -> None:
        """Health is the process' own, whatever its sources do."""
        view = fakes.FakeView(sources=[fakes.source(up=False)])
        view.healthy = healthy

        async with fakes.browsing(view) as client:
            answer = await client.get("/-/healthy")

        assert (status, healthy) == (answer.status_code, "healthy\n" == answer.text)

    @pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
    async def test_readiness_is_about_the_first_polls(self, ready: bool, status: int) -> None:
        """Ready is said once the first polls are over."""
        view = fakes.FakeView()
        view.ready = ready

        async with fakes.browsing(view) as client:
            answer = await client.get("/-/ready")

        assert (status, ready) == (answer.status_code, "ready\n" == answer.text)


class TestReload:
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    async def test_a_request_reloads(self, method: str) -> None:
        """A deployment tool triggers the reload and learns that it worked."""
        view = fakes.FakeView()

        async with fakes.browsing(view, lifecycle=True) as browser:
            answer = await browser.request(method, "/-/reload")

        assert (200, "reloaded\n") == (answer.status_code, answer.text)
        assert 1 == view.reloads

    async def test_mistakes_are_answered_one_a_line(self) -> None:
        """A failed reload must be answered with its mistakes, one a line, and change nothing."""
        view = fakes.FakeView()
        view.mistakes = ("sources[0].url: is missing", "webb: unknown key")

        async with fakes.browsing(view, lifecycle=True) as browser:
            answer = await browser.post("/-/reload")

        assert 500 == answer.status_code
        assert [
            "The old configuration stays in use.",
            "configuration: sources[0].url: is missing",
            "configuration: webb: unknown key",
        ] == answer.text.splitlines()

    async def test_it_is_off_unless_switched_on(self) -> None:
        """Reloads by HTTP must be refused unless they are switched on."""
        view = fakes.FakeView()

        async with fakes.browsing(view) as browser:
            answer = await browser.post("/-/reload")

        assert 403 == answer.status_code
        assert "--web.enable-lifecycle" in answer.text
        assert 0 == view.reloads

    async def test_reading_does_not_reload(self) -> None:
        """A crawler or a link preview must not trigger anything."""
        view = fakes.FakeView()

        async with fakes.browsing(view, lifecycle=True) as browser:
            answer = await browser.get("/-/reload")

        assert 405 == answer.status_code
        assert 0 == view.reloads


async def test_config_is_yaml_in_its_order() -> None:
    """The configuration comes back as YAML that can be read again."""
    config = {"web": {"listen_address": ["[::]:10871"]}, "sources": [{"name": "Zürich"}]}

    document = await get(fakes.FakeView(config=config), "/config")

    assert config == yaml.safe_load(document)
    assert document.startswith("web:")
    assert "Zürich" in document


@pytest.mark.parametrize("path", ["/", "/api/v1/sources", "/api/v1/targets", "/metrics"])
async def test_no_secret_of_a_url_is_shown(path: str) -> None:
    """User-info and query of a source's URL are on no page."""
    url = "https://canary:canary@portal.example/?token=canary"
    view = fakes.FakeView(fakes.agent(), sources=[fakes.source(url=url)])

    page = await get(view, path)

    assert "canary" not in page


async def test_no_secret_of_the_settings_is_shown() -> None:
    """No page may show a secret of the configuration."""
    settings = from_data(
        {
            "sources": [
                {
                    "provider": "realload",
                    "name": "prod",
                    "url": "https://portal.example/RemoteUserAPI",
                    "auth_token": "canary-token",
                    "proxy_url": "http://user:canary-proxy@proxy.example:3128",
                }
            ]
        }
    )

    page = await get(fakes.FakeView(config=redacted(settings)), "/config")

    assert "portal.example" in page
    assert "canary" not in page
