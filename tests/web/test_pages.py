from __future__ import annotations

import html
import time

import pytest
import yaml

from exporter.polling import TaskStatus
from exporter.settings import from_data, redacted
from tests.web import fakes


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "\N{PILE OF POO} & \N{ROCKET}",
)


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
        """Type, encoding and body are the exposition's, and caches are told what they vary by."""
        view = fakes.FakeView()
        view.page = fakes.FakePage(content_type="text/plain; version=1.0.0", body=b"a 1\n")

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
        view.page = fakes.FakePage(content_encoding="gzip", body=b"")

        async with fakes.browsing(view) as client:
            answer = await client.head("/metrics")

        assert "gzip" == answer.headers["content-encoding"]


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
    async def test_readiness_is_the_first_round(self, ready: bool, status: int) -> None:
        """Ready is said once the first round is over."""
        view = fakes.FakeView()
        view.ready = ready

        async with fakes.browsing(view) as client:
            answer = await client.get("/-/ready")

        assert (status, ready) == (answer.status_code, "ready\n" == answer.text)


async def test_config_is_yaml_in_its_order() -> None:
    """The configuration comes back as YAML that can be read again."""
    config = {"web": {"listen_address": ["[::]:10871"]}, "sources": [{"name": "Zürich"}]}

    document = await get(fakes.FakeView(config=config), "/config")

    assert config == yaml.safe_load(document)
    assert document.startswith("web:")
    assert "Zürich" in document


class TestFleet:
    async def test_answers_the_first_question(self) -> None:
        """The page begins with whether the fleet is well, also in its title."""
        page = await get(fakes.FakeView(fakes.agent(), sources=[fakes.source()]))

        assert 2 == page.count("The fleet is well: 1 target up.")

    async def test_shows_every_kind(self) -> None:
        """Agents, controllers, clusters with members, recorders and suites are all there."""
        page = await get(
            fakes.FakeView(
                fakes.agent("agent-one"),
                fakes.controller(),
                fakes.cluster(fakes.member("member-one", up=False)),
                fakes.recorder(),
                fakes.suite(passed=False),
            )
        )

        for shown in (
            "<bdi>agent-one</bdi>",
            "<bdi>ctl.example:8080</bdi>",
            "<bdi>alps</bdi>",
            "1 of 1 members down",
            "<bdi>member-one</bdi>",
            "<bdi>rec</bdi>",
            "<bdi>nightly</bdi>",
            "newest run failed",
            "1 runnable",
        ):
            assert shown in page

    async def test_shows_what_is_known_of_a_target(self) -> None:
        """State, reason, version, clock and age are in the row."""
        page = await get(fakes.FakeView(fakes.agent(up=False)))

        for shown in (
            '<span class="state down">down</span>',
            "not_reachable",
            "4.8.24",
            "\N{MINUS SIGN}250 ms",
            "12 ms",
            "30 s ago",
        ):
            assert shown in page

    async def test_shows_the_sources(self) -> None:
        """A source says its state and what went wrong last."""
        sources = [
            fakes.source("prod", status=fakes.failed("no reply within 15 s")),
            fakes.source("lab", up=False, auth_failed=True),
            fakes.source("new", up=False, status=TaskStatus()),
        ]

        page = await get(fakes.FakeView(sources=sources))

        for shown in (
            "10 s ago: <bdi>no reply within 15 s</bdi>",
            "the credentials were refused",
            "no success yet",
        ):
            assert shown in page

    async def test_needs_no_script(self) -> None:
        """The page is complete without script, styles in place or anything from outside."""
        page = await get(fakes.FakeView(fakes.agent(), sources=[fakes.source()]))

        for absent in ("<script", "style=", "<style", "onclick", 'href="http', "//"):
            assert absent not in page.replace("https://portal.example/", "")

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_hostile_names_stay_text(self, name: str) -> None:
        """Whatever an agent is called, or a failure says, is shown and never interpreted."""
        reading = fakes.agent(name, version=name)
        hostile = fakes.source(name, status=fakes.failed(name))

        page = await get(
            fakes.FakeView(reading, fakes.cluster(fakes.member(name, up=True)), sources=[hostile])
        )

        escaped = str(html.escape(name)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
        assert 5 <= page.count(escaped)
        assert name == html.unescape(escaped)
        if escaped != name:
            assert name not in page

    async def test_a_name_that_is_missing_is_the_id(self) -> None:
        """A target without a name is shown by its id."""
        page = await get(fakes.FakeView(fakes.agent("", agent_id="4711")))

        assert "<bdi>4711</bdi>" in page

    async def test_five_thousand_targets(self) -> None:
        """A large fleet is shown whole, in well under a second of work."""
        view = fakes.FakeView(
            *(fakes.agent(f"agent-{number}") for number in range(5_000)), sources=[fakes.source()]
        )
        started = time.process_time()

        page = await get(view)

        assert 5_000 == page.count("<bdi>agent-")
        assert 1.0 > time.process_time() - started


@pytest.mark.parametrize("path", ["/", "/api/v1/sources", "/api/v1/targets", "/metrics"])
async def test_no_secret_of_a_url_is_shown(path: str) -> None:
    """User-info and query of a source's URL are on no page."""
    url = "https://canary:canary@portal.example/?token=canary"
    view = fakes.FakeView(fakes.agent(), sources=[fakes.source(url=url)])

    page = await get(view, path)

    assert "canary" not in page


async def test_no_secret_of_the_settings_is_shown() -> None:
    """Whatever holds a secret in the configuration is on no page."""
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
