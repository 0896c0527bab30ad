"""The strip of preflights on the board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.settings.preflights import PreflightSettings
from tests.support.markup import parse
from tests.web import fakes


if TYPE_CHECKING:
    from exporter.fleet.readings import Agent, Reading
    from tests.support.markup import Element


# The moment of all tests is Tuesday, 14 November 2023, 22:13:20 UTC.
SOON = {"before": "00:30", "for": "2h", "time_zone": "Europe/Zurich"}
LATER = {"before": "02:00", "for": "1h"}


def preflight(name: str = "nightly", **checks: Any) -> PreflightSettings:
    return PreflightSettings.model_validate({"name": name, "agents": {}} | checks)


def outdated(name: str) -> Agent:
    state = fakes.agent().state
    assert state is not None
    return fakes.agent(name, state=fakes.changed(state, outdated=True, version="4.1"))


async def page(
    *readings: Reading, preflights: tuple[PreflightSettings, ...], query: str = ""
) -> Element:
    view = fakes.FakeView(*readings, sources=[fakes.source()])
    view.preflights = preflights
    async with fakes.browsing(view) as client:
        answer = await client.get(f"/{query}")
    assert 200 == answer.status_code
    return parse(answer.text)


async def strip(*readings: Reading, preflights: tuple[PreflightSettings, ...]) -> list[Element]:
    """Return the preflights of the strip."""
    found = (await page(*readings, preflights=preflights)).one("section", data_key="preflights")
    return [each for each in found.one("ul", "preflights").children if not isinstance(each, str)]


async def test_without_preflights_there_is_no_strip() -> None:
    """Without preflights, the board must have no strip."""
    found = await page(fakes.agent(), preflights=())

    assert [] == found.all("section", data_key="preflights")


async def test_one_that_is_fit_says_how_much_may_still_fail() -> None:
    """A fit preflight must be green, and say how many agents may still fail."""
    settings = preflight(agents={"min_up": 1})

    (found,) = await strip(fakes.agent("a"), fakes.agent("b"), preflights=(settings,))

    pill = found.one("span", "state")
    assert ("fit", ["state", "up"]) == (pill.text, pill.classes)
    assert found.one("p", "small").text.startswith("2 of 2 agents fit, ")
    assert found.one("p", "small").text.endswith(", 1 more agent may fail")
    assert [] == found.all("ul", "missing")


async def test_what_is_missing_is_told_with_links_to_the_targets() -> None:
    """An unfit preflight must list each target that is missing, with a link and the reason."""
    (found,) = await strip(fakes.agent("a"), outdated("b"), preflights=(preflight(window=SOON),))

    pill = found.one("span", "state")
    assert ("not fit", ["state", "critical"]) == (pill.text, pill.classes)
    missing = found.one("ul", "missing")
    assert missing.text.startswith("agents: 1 of 2 agents is fit")
    (link,) = missing.all("a")
    assert ("b", "target?source=prod&kind=agent&id=id-b") == (link.text, link.attributes["href"])
    assert "is outdated (4.1)" in missing.text
    assert [] == found.all("details")


async def test_one_that_is_due_counts_down_to_the_test() -> None:
    """The end of the window, in the time zone of the settings too."""
    (found,) = await strip(outdated("b"), preflights=(preflight(window=SOON),))

    (time,) = found.all("time")
    assert ("2023-11-14T23:30:00Z", "2023-11-14 23:30:00 UTC") == (
        time.attributes["datetime"],
        time.text,
    )
    assert "data-until" in time.attributes
    assert "due: the test begins" in found.text
    assert "(Tue 14 Nov, 22:30 to Wed 15 Nov, 00:30 Europe/Zurich)" in found.text


async def test_one_that_is_not_due_yet_alarms_nobody() -> None:
    """A preflight that is not due must count down, without a colour of trouble."""
    (found,) = await strip(
        fakes.agent("a"), preflights=(preflight(agents={"min_up": 2}, window=LATER),)
    )

    pill = found.one("span", "state")
    assert ("not fit", ["state", "down", "calm"]) == (pill.text, pill.classes)
    (time,) = found.all("time")
    assert "2023-11-15T01:00:00Z" == time.attributes["datetime"]
    assert "(Wed 15 Nov, 01:00 to 02:00 UTC)" in found.text
    assert "1 check does not pass" == found.one("details").one("summary").text


@pytest.mark.parametrize(
    ("window", "look"), [(SOON, "critical"), (LATER, "unknown"), (None, "unknown")]
)
async def test_what_is_not_known_is_never_green(window: dict[str, str] | None, look: str) -> None:
    """A preflight that cannot be judged must never be green, and say that it is not known."""
    settings = preflight(clock="1s", window=window)
    state = fakes.agent().state
    assert state is not None
    unread = fakes.agent("a", state=fakes.changed(state, clock_delta_seconds=None))

    (found,) = await strip(unread, preflights=(settings,))

    pill = found.one("span", "state")
    assert ("not known", ["state", look]) == (pill.text, pill.classes)
    assert [] == found.all("span", "up")
    assert found.one("ul", "missing").text.startswith("agents not known: ")


async def test_of_many_targets_the_first_are_named_once() -> None:
    """Thousands must not fill the page, nor each stand with every check that it fails."""
    settings = preflight(clock="1s", idle=True)

    (found,) = await strip(*(outdated(f"a{number}") for number in range(9)), preflights=(settings,))

    lists = [
        each.all("ul") for each in found.one("ul", "missing").children if not isinstance(each, str)
    ]
    assert [1, 0, 0] == [len(each) for each in lists]
    assert ["a0", "a1", "a2", "a3", "a4"] == [each.text for each in lists[0][0].all("a")]
    assert lists[0][0].text.endswith("and 4 more")


async def test_what_is_due_comes_first() -> None:
    """Preflights must be sorted by due time, and those without a window be last."""
    found = await strip(
        fakes.agent(),
        preflights=(
            preflight("anytime"),
            preflight("later", window=LATER),
            preflight("soon", window=SOON),
        ),
    )

    assert ["soon", "later", "anytime"] == [each.one("bdi", "name").text for each in found]


async def test_names_are_text_and_nothing_else() -> None:
    """Names from the configuration or the vendor must become no markup."""
    name = "<script>alert(1)</script>"
    (found,) = await strip(outdated(name), preflights=(preflight(name, window=SOON),))

    assert name == found.one("bdi", "name").text
    assert name == found.one("ul", "missing").one("a").text
    assert [] == found.all("script")


@pytest.mark.parametrize("query", ["?kind=agent", "?q=a", "?section=sources"])
async def test_who_looks_for_something_else_does_not_see_it(query: str) -> None:
    """Pages of targets have targets alone."""
    found = await page(fakes.agent("a"), preflights=(preflight(),), query=query)

    assert [] == found.all("section", data_key="preflights")


async def test_what_needs_attention_leads_to_it() -> None:
    """The problem of the alert table names the preflight."""
    found = await page(outdated("b"), preflights=(preflight(window=SOON),))

    (row,) = [each for each in found.one("table", "attention").all("tr") if "NotFit" in each.text]
    link = row.cells("What")[0].one("a")
    assert ("nightly", "./#preflights") == (link.text, link.attributes["href"])
    assert "not found fit for 1 test" in found.one("div", "headline", "bad").text
