from __future__ import annotations

from typing import Any

from exporter.sources.calls import http_options
from exporter.sources.realload.settings import RealLoadSettings


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
    """It may hold a password."""
    source = settings(proxy_url="http://user:CANARY@proxy:1")

    assert "<secret>" == repr(http_options(source).proxy_url)
    assert "CANARY" not in repr(source)
