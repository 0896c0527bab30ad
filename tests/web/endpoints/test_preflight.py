from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.settings.preflights import PreflightSettings
from tests.web import fakes


if TYPE_CHECKING:
    import httpx


def preflight(name: str, include: str = ".*", **checks: Any) -> PreflightSettings:
    """Make the settings of a preflight that needs some agents."""
    return PreflightSettings.model_validate(
        {"name": name, "agents": {"include": include}, **checks}
    )


#: Agents that are up, down, and not known.
FLEET = (fakes.agent("fit"), fakes.agent("ill", up=False), fakes.agent("dark", up=None))

FIT, ILL, DARK = (preflight(name, name) for name in ("fit", "ill", "dark"))


def watched(*preflights: PreflightSettings) -> fakes.FakeView:
    return fakes.FakeView(*FLEET, sources=[fakes.source()], preflights=preflights)


async def get(view: fakes.FakeView, query: str = "", **headers: str) -> httpx.Response:
    async with fakes.browsing(view) as client:
        return await client.get(f"/api/v1/preflight{query}", headers=headers)


@pytest.mark.parametrize(
    ("preflights", "status", "told"),
    [
        ((FIT,), 200, "fit"),
        ((FIT, DARK), 503, "not_known"),
        ((FIT, DARK, ILL), 409, "not_fit"),
    ],
    ids=["all are fit", "one is not known", "one is not fit"],
)
async def test_the_status_is_enough(
    preflights: tuple[PreflightSettings, ...], status: int, told: str
) -> None:
    """`curl -f` fails unless all are fit, and what is not fit goes over what is not known."""
    answer = await get(watched(*preflights))

    assert status == answer.status_code
    assert told == answer.json()["data"]["status"]
    assert [each.name for each in preflights] == [
        each["name"] for each in answer.json()["data"]["preflights"]
    ]


async def test_a_preflight_is_told_whole() -> None:
    """The answer must have all checks, reasons and unfit targets."""
    view = watched(preflight("tonight", "fit|ill"))

    answer = await get(view)

    assert {
        "status": "success",
        "data": {
            "status": "not_fit",
            "preflights": [
                {
                    "name": "tonight",
                    "status": "not_fit",
                    "checks": [
                        {
                            "name": "agents",
                            "result": "failed",
                            "reason": "1 of 2 agents is fit, none may be unfit",
                            "targets": [
                                {
                                    "kind": "agent",
                                    "source": "prod",
                                    "id": "id-ill",
                                    "name": "ill",
                                    "result": "failed",
                                    "reason": "is down (not reachable)",
                                }
                            ],
                        }
                    ],
                    "agents_fit": 1,
                    "agents_unfit": 1,
                    "capacity": {
                        "users": "+Inf",
                        "users_unknown": 0,
                        "suites_users": None,
                        "suites_unknown": 0,
                        "agents_may_fail": None,
                        "wanted_twice": [],
                    },
                    "due": False,
                    "begin_timestamp_seconds": None,
                    "end_timestamp_seconds": None,
                    "time_zone": "",
                }
            ],
        },
    } == answer.json()


async def test_the_named_ones_alone() -> None:
    """A job asks for its own, and another one's trouble does not fail it."""
    view = watched(FIT, DARK, ILL)

    one = await get(view, "?name=fit")
    two = await get(view, "?name=dark&name=fit")

    assert (200, ["fit"]) == (
        one.status_code,
        [each["name"] for each in one.json()["data"]["preflights"]],
    )
    assert (503, ["dark", "fit"]) == (
        two.status_code,
        [each["name"] for each in two.json()["data"]["preflights"]],
    )


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?name=dakr", "name must be one of: fit, dark; did you mean dark?"),
        ("?nam=fit", "nam is no parameter here; there are: name; did you mean name?"),
        ("?agents=(a*)*b", "agents is no parameter here; there are: name"),
        ("?label.site=bern", "label.site is no parameter here; there are: name"),
    ],
)
async def test_what_there_is_not_is_told_with_what_there_is(query: str, error: str) -> None:
    """A mistyped name must not look like good news, and nobody brings an expression along."""
    answer = await get(watched(FIT, DARK), query)

    assert (400, {"status": "error", "errorType": "bad_data", "error": error}) == (
        answer.status_code,
        answer.json(),
    )


async def test_none_is_configured() -> None:
    """An exporter without preflights says where to write one, and nothing is fit."""
    answer = await get(watched(), "?name=tonight")

    assert 404 == answer.status_code
    assert (
        "no preflight is configured; list one below `preflights` in the configuration"
        == answer.json()["error"]
    )


async def test_it_is_served_from_the_picture() -> None:
    """Preflights must be served from the picture, without a call to the vendor."""
    view = fakes.StillView(
        *fakes.ten_thousand(),
        sources=[fakes.source()],
        preflights=[preflight("tonight", users=1, clock="1s")],
    )
    made = await view.picture()

    view.snapshot = fakes.changed(view.snapshot, readings=())
    data = (await get(view)).json()["data"]

    assert made.preflights[0].agents_fit == data["preflights"][0]["agents_fit"]
    assert 250 == len(data["preflights"][0]["checks"][0]["targets"])
    assert ([], []) == (view.explained, view.asked)


async def test_nothing_has_changed_is_said_of_a_fit_fleet_alone() -> None:
    """304 is a success to `curl -f`."""
    fit, ill = watched(FIT), watched(ILL)
    tags = [(await get(view)).headers["etag"] for view in (fit, ill)]

    answers = [
        await get(view, **{"if-none-match": tag})
        for view, tag in zip((fit, ill), tags, strict=True)
    ]

    assert [304, 409] == [answer.status_code for answer in answers]
