from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.alerts.rule import Severity
from exporter.overview.rows import Condition
from exporter.web.app import create_app
from exporter.web.endpoints.badge import (
    LABEL_CHARACTERS,
    LEFT,
    RIGHT,
    Said,
    drawn,
    of_fleet,
    of_target,
    width,
)
from tests.web import fakes


if TYPE_CHECKING:
    from exporter.fleet.readings import Reading
    from exporter.web.endpoints.badge import Colours


SVG = "{http://www.w3.org/2000/svg}"
GREY, GREEN, AMBER, RED = (RIGHT[level].back for level in ("unsure", "good", "warn", "bad"))


async def fetched(view: fakes.FakeView, path: str, **headers: str) -> httpx.Response:
    async with fakes.browsing(view) as client:
        return await client.get(path, headers=headers)


async def badge_of(view: fakes.FakeView, path: str) -> tuple[str, str, str]:
    """Return both texts of a badge, and the colour behind the right one."""
    answer = await fetched(view, path)
    assert 200 == answer.status_code
    return seen(answer.text)


def parsed(svg: str | bytes) -> ET.Element:
    """Parse a picture as browsers do, which need it well-formed."""
    return ET.fromstring(svg)  # noqa: S314  # it is our own


def seen(svg: str) -> tuple[str, str, str]:
    picture = parsed(svg)
    left, right = (each.text or "" for each in picture.iter(f"{SVG}text"))
    *_, box = picture.iter(f"{SVG}rect")
    return left, right, box.attrib["fill"]


def address(kind: str = "agent", target_id: str = "id-agent-1", **more: str) -> str:
    return "/badge/target.svg?" + urlencode(
        {"source": "prod", "kind": kind, "id": target_id, **more}
    )


def known(*readings: Reading) -> fakes.FakeView:
    return fakes.FakeView(*readings, sources=[fakes.source()])


def agent(**state: Any) -> Reading:
    """Make an agent with some facts changed of what was read of it."""
    found = fakes.agent()
    assert found.state is not None
    return fakes.changed(found, state=fakes.changed(found.state, **state))


STILL = create_app(fakes.StillView(agent(), sources=[fakes.source()]))


class TestTarget:
    @pytest.mark.parametrize(
        ("reading", "expected"),
        [
            (agent(), ("agent-1", "up", GREEN)),
            (fakes.agent(up=False), ("agent-1", "down", RED)),
            (agent(outdated=True), ("agent-1", "outdated", RED)),
            (agent(clock_delta_seconds=7.5), ("agent-1", "up", AMBER)),
            (fakes.agent(up=None), ("agent-1", "unknown", GREY)),
            (fakes.agent(state=None), ("agent-1", "unknown", GREY)),
            (fakes.agent(active=False), ("agent-1", "inactive", GREY)),
            (fakes.agent(up=False, managed="vendor"), ("agent-1", "down", GREY)),
        ],
    )
    async def test_says_the_state_in_the_colour_of_what_is_wrong(
        self, reading: Reading, expected: tuple[str, str, str]
    ) -> None:
        """The word is that of the board, the colour that of the alert table."""
        assert expected == await badge_of(known(reading), address())

    @pytest.mark.parametrize(
        ("suite", "expected"),
        [
            (fakes.suite(), ("runnable", GREEN)),
            (fakes.suite(passed=False), ("failed", AMBER)),
            (fakes.suite(healthy=False), ("not runnable", AMBER)),
            (fakes.suite(healthy=None, passed=None), ("unknown", GREY)),
            (fakes.suite(healthy=None), ("passed", GREY)),
            (fakes.suite(healthy=None, passed=False), ("failed", AMBER)),
        ],
    )
    async def test_has_the_words_of_suites(self, suite: Reading, expected: tuple[str, str]) -> None:
        """A suite is not up or down."""
        _, *found = await badge_of(known(suite), address("suite", "3"))

        assert expected == tuple(found)

    @pytest.mark.parametrize(
        ("facts", "expected"),
        [
            ({"state": Condition.DOWN}, ("down", AMBER)),
            ({"outdated": True}, ("outdated", AMBER)),
            ({"severity": Severity.INFO}, ("up", GREEN)),
        ],
    )
    async def test_is_not_green_where_another_target_is_to_blame(
        self, facts: dict[str, Any], expected: tuple[str, str]
    ) -> None:
        """A target that is wrong without an alert of its own is amber."""
        picture = await known(agent()).picture()
        row = fakes.changed(picture.targets[0], **facts)

        _, *found = seen(drawn(of_target(row, picture)))

        assert expected == tuple(found)

    async def test_tells_what_is_wrong_to_those_who_do_not_see_it(self) -> None:
        """A reader of screens gets name, state and problems in one sentence."""
        answer = await fetched(known(agent(outdated=True)), address())

        picture = parsed(answer.text)
        title = picture.findtext(f"{SVG}title")
        assert ("img", "agent-1: outdated (AgentOutdated)", title) == (
            picture.attrib["role"],
            picture.attrib["aria-label"],
            "agent-1: outdated (AgentOutdated)",
        )

    async def test_follows_the_picture(self) -> None:
        """A badge that was asked for before shows what is new."""
        view = known(agent())
        async with fakes.browsing(view) as client:
            before = seen((await client.get(address())).text)
            view.snapshot = known(fakes.agent(up=False)).snapshot
            view.tag = "next"
            after = seen((await client.get(address())).text)

        assert (("agent-1", "up", GREEN), ("agent-1", "down", RED)) == (before, after)

    async def test_takes_another_label(self) -> None:
        """A page can call a target what its readers call it; too long a name is cut."""
        view = known(agent())

        short = await badge_of(view, address(label="Bern"))
        long, *_ = await badge_of(view, address(label="x" * 500))

        assert ("Bern", "up", GREEN) == short
        assert "x" * (LABEL_CHARACTERS - 1) + "…" == long

    async def test_a_label_that_shows_nothing_is_none(self) -> None:
        """A badge says what it is about, whatever its address asks for."""
        found = await badge_of(known(agent()), address(label="\u202e\n"))

        assert ("agent-1", "up", GREEN) == found

    @pytest.mark.parametrize(
        "path",
        [
            address(target_id="gone"),
            address("tank"),
            address(source="elsewhere"),
            "/badge/target.svg",
            "/badge/target.svg?source=prod",
        ],
    )
    async def test_that_there_is_not_is_grey(self, path: str) -> None:
        """A page shows the picture of an answer of 200 only, so that is what a mistake gets."""
        _, *found = await badge_of(known(agent()), path)

        assert ["not found", GREY] == found


class TestNotKnowing:
    async def test_before_the_first_polls_have_finished(self) -> None:
        """A process that has just begun knows nothing for sure."""
        view = known(agent())
        view.ready = False

        assert ("agent-1", "unknown", GREY) == await badge_of(view, address())

    async def test_after_a_restart(self) -> None:
        """A reading from before the restart is not how it is now."""
        view = known(agent())
        view.snapshot = fakes.changed(view.snapshot, restored=True)

        assert ("agent-1", "unknown", GREY) == await badge_of(view, address())

    @pytest.mark.parametrize(
        "source",
        [
            fakes.source(up=False),
            fakes.changed(fakes.source(), state="unknown"),
            fakes.source("other"),
        ],
    )
    async def test_of_a_source_that_does_not_answer(self, source: Any) -> None:
        """A target of a source that does not answer must be unknown."""
        view = fakes.FakeView(agent(), sources=[source])

        assert ("agent-1", "unknown", GREY) == await badge_of(view, address())

    @pytest.mark.parametrize(
        "source",
        [
            fakes.source(up=False),
            fakes.source(unread=True),
            fakes.source(status=fakes.failed()),
        ],
    )
    async def test_whether_it_is_gone(self, source: Any) -> None:
        """A target is not gone because its list could not be read."""
        view = fakes.FakeView(sources=[source])

        assert ("x", "unknown", GREY) == await badge_of(view, address(target_id="x"))

    async def test_with_readings_that_have_expired(self) -> None:
        """A target whose readings have expired must be unknown."""
        view = known()
        view.recent.take(fakes.changed(view.snapshot, readings=(agent(),)))
        await view.recent.catch_up()

        assert ("id-agent-1", "unknown", GREY) == await badge_of(view, address())


class TestFleet:
    @pytest.mark.parametrize(
        ("view", "expected"),
        [
            (known(agent()), ("well", GREEN)),
            (known(fakes.agent(up=False)), ("not well", RED)),
            (known(fakes.suite(passed=False)), ("needs attention", AMBER)),
            (known(), ("unknown", GREY)),
            (fakes.FakeView(), ("unknown", GREY)),
            (known(agent(), fakes.agent("b", up=None)), ("unknown", GREY)),
        ],
    )
    async def test_says_the_headline(self, view: fakes.FakeView, expected: tuple[str, str]) -> None:
        """The badge and the board never contradict each other."""
        left, *found = await badge_of(view, "/badge/fleet.svg")

        assert ("fleet", *expected) == (left, *found)

    async def test_is_not_well_on_what_was_before_a_restart(self) -> None:
        """Restored readings are no evidence."""
        view = known(agent())
        view.snapshot = fakes.changed(view.snapshot, restored=True)

        assert "unsure" == of_fleet(await view.picture()).level


class TestPicture:
    @pytest.mark.parametrize("colours", [LEFT, *RIGHT.values()])
    def test_can_be_read(self, colours: Colours) -> None:
        """Text has a contrast of 4.5 : 1, as WCAG 2 computes it."""
        assert 4.5 <= contrast(colours.back, colours.text)

    @pytest.mark.parametrize(
        "name",
        [
            '"/><script>alert(1)</script>',
            "</title></svg><img src=x onerror=alert(1)>",
            "&lt;b&gt;'\"",
            "a\x00b\x1bc",
            "\ud83d",
            "\u202eevil",
        ],
    )
    async def test_has_names_as_text_only(self, name: str) -> None:
        """Names must become no element or attribute of the picture."""
        plain = parsed(drawn(Said(label="a", message="up")))

        picture = parsed(
            drawn(Said(label=name, message="up", details=name)).encode("utf-8", "replace")
        )

        assert [each.tag for each in plain.iter()] == [each.tag for each in picture.iter()]
        assert [set(each.attrib) for each in plain.iter()] == [
            set(each.attrib) for each in picture.iter()
        ]
        assert not {"\x00", "\x1b", "\u202e"} & set("".join(picture.itertext()))

    @settings(deadline=None, max_examples=60)
    @given(st.dictionaries(st.sampled_from(["source", "kind", "id", "label", "x"]), st.text()))
    def test_is_drawn_for_any_address(self, query: dict[str, str]) -> None:
        """Nonsense is a picture too, and a sound one."""
        path = "/badge/target.svg?" + urlencode(query, errors="replace")

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(STILL)
            async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
                return await client.get(path)

        answer = asyncio.run(ask())

        assert (200, f"{SVG}svg") == (
            answer.status_code,
            parsed(answer.content).tag,
        )

    def test_is_as_wide_as_its_text(self) -> None:
        """Narrow letters take less, those of East Asia more, and marks on letters nothing."""
        assert width("iiii") < width("nnnn") < width("WWWW") < width("\u6f22\u5b57\u6f22\u5b57")
        assert width("e") == width("e\u0301")

    async def test_may_be_shown_elsewhere_and_is_asked_for_again(self) -> None:
        """A wiki may embed it, its proxy asks each time, and gets it once per change."""
        view = known(agent())
        answer = await fetched(view, address())
        again = await fetched(view, address(), **{"if-none-match": answer.headers["etag"]})
        other = await fetched(known(fakes.agent(up=False)), address())

        assert {
            "content-type": "image/svg+xml",
            "cache-control": "no-cache, max-age=0",
            "cross-origin-resource-policy": "cross-origin",
            "x-content-type-options": "nosniff",
        }.items() <= dict(answer.headers).items()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (304, b"") == (again.status_code, again.content)
        assert answer.headers["etag"] != other.headers["etag"]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    def linear(part: str) -> float:
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.03928 else float(((value + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(colour[at : at + 2]) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
