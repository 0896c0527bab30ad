from __future__ import annotations

from random import Random
from typing import Any

import pytest

from exporter.errors import BlockedError, Reason
from exporter.http import Account
from exporter.http.pace import Pace
from exporter.metrics.telemetry import SelfMetrics
from exporter.sources.base import SourceContext
from exporter.sources.calls import http_options
from exporter.sources.realload.settings import RealLoadSettings
from exporter.sources.registry import PROVIDERS
from exporter.state.memory import MemoryState
from tests.support.clock import FakeClock
from tests.support.ledger import ledger_of


def settings(**fields: Any) -> RealLoadSettings:
    """Make settings as a file would."""
    url = "https://portal.example/RemoteUserAPI"
    return RealLoadSettings.model_validate({"url": url, "auth_token": "CANARY"} | fields)


def test_no_part_is_allowed_more_time_than_the_whole() -> None:
    """The time-outs of connecting and reading end with the total."""
    options = http_options(settings(timeout="3s", read_timeout="1m"))

    assert (3.0, 3.0, 3.0) == (
        options.connect_timeout,
        options.read_timeout,
        options.total_timeout,
    )


def test_defaults_are_those_of_the_reference() -> None:
    """5 s to connect, 15 s in all, 16 MiB."""
    options = http_options(settings())

    assert (5.0, 15.0, 15.0, 16 << 20, 2, None, 3) == (
        options.connect_timeout,
        options.read_timeout,
        options.total_timeout,
        options.max_reply_bytes,
        options.retries,
        options.requests_per_minute,
        options.connections,
    )


def test_a_proxys_url_stays_secret() -> None:
    """A proxy's URL must be shown as a secret: it may hold a password."""
    source = settings(proxy_url="http://user:CANARY@proxy:1")

    assert "<secret>" == repr(http_options(source).proxy_url)
    assert "CANARY" not in repr(source)


@pytest.mark.parametrize(
    ("provider", "task", "fields"),
    [
        ("realload", "agents", {"auth_token": "CANARY"}),
        ("blazemeter", "runs", {"api_key_id": "id", "api_key_secret": "CANARY", "workspaces": [1]}),
        ("eggplant", "agents", {"auth": {"access_token": "CANARY"}}),
    ],
)
async def test_a_source_keeps_to_the_pace_of_its_account(
    provider: str, task: str, fields: dict[str, Any]
) -> None:
    """A pause asked of one process must hold all calls of the account, with every vendor."""
    clock = FakeClock()
    state = MemoryState(clock.clock.time)
    url = "https://vendor.invalid"
    source = PROVIDERS[provider].connect(
        PROVIDERS[provider].settings.model_validate({"url": url, **fields}),
        SourceContext(
            telemetry=SelfMetrics(clock=clock.clock).source(provider, "acme"),
            clock=clock.clock,
            ledger=ledger_of(clock, url),
            random=Random(0),  # noqa: S311 - jitter is no secret
            state=state,
        ),
    )
    fingerprint = source._client.guard._keeper._fingerprint  # the one of its credentials
    account = Account(state=state, url=url, fingerprint=fingerprint)
    await Pace(None, clock=clock.clock, account=account).pause(120.0, sent=0.0)

    with pytest.raises(BlockedError) as caught:
        await source.poll(task)
    await source.aclose()

    assert Reason.RATE_LIMITED is caught.value.reason
