from __future__ import annotations

from typing import Any

import pytest

from exporter.errors import Reason
from exporter.fleet.kinds import Kind
from exporter.fleet.readings import Controller, State
from exporter.lockout.record import digest
from tests.support.realload import Rig, Script, exposed, fixture


def rig(ping: Script = "ok", controllers: Script = "ok") -> Rig:
    return Rig({"getClusterControllers": controllers, "pingClusterController": ping})


async def controllers_of(source: Rig) -> list[Controller]:
    readings = await source.readings("controllers")
    return [reading for reading in readings if isinstance(reading, Controller)]


async def test_exposes_the_documented_controller() -> None:
    """The printed examples become exactly these samples."""
    first, second = await controllers_of(rig())

    own = 'controller="198.51.100.1:8083"'
    assert {
        f'controller_info{{{own},host="198.51.100.1",port="8083",version="4.0.4",os="Linux",'
        'os_version="4.15.0-135-generic",java_version="11.0.1",'
        'java_vendor="Oracle Corporation",location=""}': 1,
        f"controller_up{{{own}}}": 1,
        f"controller_outdated{{{own}}}": 0,
        f"controller_clock_delta_seconds{{{own}}}": 1.12,
        f"controller_ping_duration_seconds{{{own}}}": 0.249,
        f"controller_start_timestamp_seconds{{{own}}}": 1699916478.461,
        f"controller_last_up_timestamp_seconds{{{own}}}": 1_700_000_000,
        f"controller_memory_limit_bytes{{{own}}}": 512 * 1024**2,
        f"controller_protected{{{own}}}": 1,
    } == exposed(first)
    assert "198.51.100.2:8083" == second.controller


async def test_sends_each_controllers_own_token_back() -> None:
    """A controller is addressed by host, port and the token of the list."""
    source = rig()

    await controllers_of(source)

    sent = [
        (request["controllerHost"], request["controllerPort"], request["controllerAuthToken"])
        for request in source.portal.requests
        if request["action"] == "pingClusterController"
    ]
    assert [
        ("198.51.100.1", 8083, "2fasdtfffe"),
        ("198.51.100.2", 8083, "asfsdgh763"),
    ] == sent


async def test_no_token_goes_into_the_ledger() -> None:
    """The ledger must name a controller by the hash of its address, without its token."""
    source = rig({"isError": True, "genericErrorText": "failed"})

    await source.source.poll("controllers")

    kept = await source.ledger._state.documents("lockout/")
    assert digest("pingClusterController 198.51.100.1 8083") in str(kept)


async def test_sends_an_empty_token_when_there_is_none() -> None:
    """The request field is always there."""
    controllers = fixture("getClusterControllers.ok")
    del controllers["clusterControllersArray"][0]["controllerAuthToken"]
    controllers["clusterControllersArray"][1]["controllerAuthToken"] = ""
    source = rig("ok", controllers)

    found = await controllers_of(source)

    assert ["", ""] == [request["controllerAuthToken"] for request in source.portal.requests[2:]]
    assert [None, False] == [controller.protected for controller in found]


async def test_pings_an_address_once() -> None:
    """A controller that several clusters use must be pinged once."""
    controllers = fixture("getClusterControllers.ok")
    controllers["clusterControllersArray"][1]["controllerHost"] = "198.51.100.1"
    source = rig("ok", controllers)

    assert ["198.51.100.1:8083"] == [c.controller for c in await controllers_of(source)]
    assert 1 == source.portal.asked.count("pingClusterController")


async def test_pings_no_controller_of_inactive_clusters() -> None:
    """A controller that serves inactive clusters only is shown without a state."""
    controllers = fixture("getClusterControllers.ok")
    for cluster in controllers["clusterControllersArray"][0]["measuringAgentClustersArray"]:
        cluster["clusterActive"] = 0
    controllers["clusterControllersArray"][1]["measuringAgentClustersArray"][0]["clusterActive"] = (
        False
    )
    source = rig("ok", controllers)

    first, second = await controllers_of(source)

    assert first.state is None
    assert second.state is not None
    assert 1 == source.portal.asked.count("pingClusterController")


async def test_joins_the_clusters_of_a_controller_that_is_listed_twice() -> None:
    """A controller that is listed twice must be pinged if any of its clusters is active."""
    controllers = fixture("getClusterControllers.ok")
    first, second = controllers["clusterControllersArray"]
    second["controllerHost"] = first["controllerHost"]
    for cluster in first["measuringAgentClustersArray"]:
        cluster["clusterActive"] = 0
    source = rig("ok", controllers)

    (controller,) = await controllers_of(source)

    assert controller.state is not None


@pytest.mark.parametrize(
    ("case", "up", "reason", "outdated"),
    [
        ("not_reachable", False, Reason.NOT_REACHABLE, None),
        ("bad_token", False, Reason.NOT_REACHABLE, None),
        ("outdated", True, None, True),
    ],
)
async def test_reads_a_flag_as_the_controllers_state(
    case: str, up: bool, reason: Reason | None, outdated: bool | None
) -> None:
    """A specific flag is data about the controller; outdated is not unreachable."""
    source = rig(case)

    first, _ = await controllers_of(source)

    assert (
        State(read_at=source.time.clock.now(), up=up, reason=reason, outdated=outdated)
        == first.state
    )


@pytest.mark.parametrize("flag", ["controllerHostError", "controllerPortError"])
async def test_takes_a_refused_address_for_an_unknown_controller(flag: str) -> None:
    """The address stands for the id a controller does not have."""
    source = rig({"isError": True, "genericErrorText": "bad", flag: True})

    first, _ = await controllers_of(source)

    assert first.state is not None
    assert (False, Reason.UNKNOWN_ID) == (first.state.up, first.state.reason)


async def test_reads_outdated_inside_a_good_reply() -> None:
    """The second place that says outdated counts as well."""
    ping = fixture("pingClusterController.ok")
    ping["controllerResponse"]["clusterControllerOutdated"] = True

    first, _ = await controllers_of(rig(ping))

    assert first.state is not None
    assert (True, True) == (first.state.up, first.state.outdated)


async def test_leaves_out_what_has_no_address() -> None:
    """A controller without host or port can't be pinged."""
    controllers = {
        "clusterControllersArray": [{"controllerHost": "a"}, {"controllerPort": 1}],
        "isError": False,
    }
    source = rig("ok", controllers)

    assert [] == await controllers_of(source)
    assert 2 == source.surprises("missing_field")


async def test_writes_an_address_of_version_6_in_brackets() -> None:
    """Host and port stay apart."""
    controllers = fixture("getClusterControllers.ok")
    controllers["clusterControllersArray"][0]["controllerHost"] = "2001:db8::1"

    first, _ = await controllers_of(rig("ok", controllers))

    assert "[2001:db8::1]:8083" == first.controller


def twice(*tokens: str | None) -> dict[str, Any]:
    """Make a list of one controller that so many clusters use, each with a token of its own."""
    entries = [
        {
            "controllerHost": "198.51.100.1",
            "controllerPort": 8083,
            "controllerAuthToken": token,
            "measuringAgentClustersArray": [{"clusterId": number, "clusterActive": 1}],
        }
        for number, token in enumerate(tokens)
    ]
    return {"clusterControllersArray": entries, "isError": False}


def accepting(*tokens: str) -> Script:
    """Answer a wrong token as the portal does: like a controller that is away."""
    return lambda request: "ok" if request["controllerAuthToken"] in tokens else "bad_token"


class TestSeveralTokens:
    """A controller whose clusters store different tokens of it."""

    async def test_one_that_is_accepted_is_enough(self) -> None:
        """The first cluster stores a stale one, and its own ping says so."""
        source = rig(accepting("good"), twice("stale", "good"))

        (controller,) = await controllers_of(source)

        assert controller.state is not None
        assert (True, None) == (controller.state.up, controller.state.reason)
        assert ["stale", "good"] == sent(source)

    async def test_the_one_that_was_accepted_is_tried_first(self) -> None:
        """A stale token costs a call once, not in every poll."""
        source = rig(accepting("good"), twice("stale", "good"))
        await controllers_of(source)
        source.portal.requests.clear()

        await controllers_of(source)

        assert ["good"] == sent(source)

    async def test_they_change_places(self) -> None:
        """When the accepted token is stale, the others must be tried again."""
        source = rig(accepting("b"), twice("a", "b"))
        await controllers_of(source)
        source.portal.requests.clear()
        source.portal.script["pingClusterController"] = accepting("a")

        (controller,) = await controllers_of(source)

        assert controller.state is not None
        assert controller.state.up
        assert ["b", "a"] == sent(source)

    async def test_it_is_down_when_none_is_accepted(self) -> None:
        """A controller that is away gets a bounded number of calls."""
        source = rig("not_reachable", twice(*map(str, range(20))))

        (controller,) = await controllers_of(source)

        assert controller.state is not None
        assert (False, Reason.NOT_REACHABLE) == (controller.state.up, controller.state.reason)
        assert list(map(str, range(10))) == sent(source)

    @pytest.mark.parametrize("good", [0, 3, 4, 9])
    async def test_it_does_not_matter_which_one_is_accepted(self, good: int) -> None:
        """No controller is down because the good token stands behind others."""
        source = rig(accepting(str(good)), twice(*map(str, range(10))))

        (controller,) = await controllers_of(source)

        assert controller.state is not None
        assert controller.state.up

    async def test_the_same_token_is_tried_once(self) -> None:
        """A token that several clusters store must be tried once."""
        source = rig("not_reachable", twice("a", "a", "b", "a", None, ""))

        await controllers_of(source)

        assert ["a", "b", ""] == sent(source)

    async def test_a_wrong_one_is_no_refusal_of_our_own(self) -> None:
        """The portal accepted our token, so that no proof is due."""
        source = rig(accepting("good"), twice("stale", "good"))

        await controllers_of(source)

        assert 1 == source.portal.asked.count("getUserAccountInfo")
        assert not source.source.auth_failed
        assert 0 == source.source.refusals

    async def test_none_is_shown(self) -> None:
        """No token may be shown, neither a stale nor an accepted one."""
        source = rig(accepting("canary-good"), twice("canary-stale", "canary-good"))

        poll = await source.source.poll("controllers")

        assert "canary" not in f"{poll}"
        assert "canary" not in str(await source.ledger._state.documents("lockout/"))

    @pytest.mark.parametrize(
        ("tokens", "protected"),
        [
            (("a", ""), True),
            (("", "a"), True),
            (("", None), False),
            ((None, None), None),
        ],
    )
    async def test_it_is_protected_if_one_is_stored(
        self, tokens: tuple[str | None, ...], protected: bool | None
    ) -> None:
        """A controller must count as protected if any cluster stores a token."""
        (controller,) = await controllers_of(rig("ok", twice(*tokens)))

        assert protected is controller.protected


async def test_its_start_does_not_depend_on_its_clock() -> None:
    """A controller an hour behind that is up for ten minutes was started ten minutes ago."""
    ping = fixture("pingClusterController.ok")
    theirs = 1_699_996_400_000
    ping["controllerResponse"] |= {
        "systemTime": theirs,
        "controllerStartupTimeStamp": theirs - 600_000,
    }

    first, _ = await controllers_of(rig(ping))

    assert first.state is not None
    assert 1_699_999_400.0 == first.state.start_timestamp_seconds


async def test_counts_a_memory_that_cannot_be_read() -> None:
    """A memory size that cannot be read must be absent and counted as a surprise."""
    ping = fixture("pingClusterController.ok")
    ping["controllerResponse"]["javaMaxMemory"] = "1.024 MB"
    source = rig(ping, twice("a"))

    (controller,) = await controllers_of(source)

    assert controller.state is not None
    assert None is controller.state.memory_limit_bytes
    assert 1 == source.surprises("type")


async def test_lists_all_controllers() -> None:
    """A poll must have the complete list, so that an empty one is doubted."""
    poll = await rig().source.poll("controllers")

    assert (Kind.CONTROLLER,) == poll.inventory


def sent(source: Rig) -> list[str]:
    """Return the tokens with which controllers were pinged."""
    return [
        request["controllerAuthToken"]
        for request in source.portal.requests
        if request["action"] == "pingClusterController"
    ]
