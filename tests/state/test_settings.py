from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from exporter.config.address import Address
from exporter.errors import ConfigurationError
from exporter.settings.load import from_data, redacted
from exporter.state.settings import StateSettings


if TYPE_CHECKING:
    from pathlib import Path


SOURCE = {
    "provider": "realload",
    "name": "prod",
    "url": "https://portal.example/RemoteUserAPI",
    "auth_token": "CANARY-token",
}
URL = "redis://valkey.example:6380/2"

WRONG = "is not a redis or rediss URL; write it as redis://host:port/0"
SERVER = "is for a server; give url"


@pytest.mark.parametrize(
    ("state", "problems"),
    [
        ({"url": "http://a"}, [f"state.url: {WRONG}"]),
        ({"url": "redis://"}, [f"state.url: {WRONG}"]),
        ({"url": "valkey.example:6379"}, [f"state.url: {WRONG}"]),
        ({"url": "redis://a:0"}, [f"state.url: {WRONG}"]),
        ({"url": "redis://a b"}, [f"state.url: {WRONG}"]),
        ({"url": "redis://[a"}, ["state.url: is not a URL; write it as redis://host:port/0"]),
        (
            {"url": "redis://:CANARY@a"},
            ["state.url: holds a user or password; give them as username and password_file"],
        ),
        (
            {"url": "redis://a?password=CANARY"},
            ["state.url: holds a query or fragment; end it before the ? or #"],
        ),
        (
            {"url": "redis://a/name"},
            ["state.url: has a wrong path; end it with the number of a database, as in /0"],
        ),
        (
            {"url": URL, "path": "/state"},
            ["state.url: is given as well as path; remove one of the two"],
        ),
        (
            {"username": "u", "password": "CANARY"},
            [f"state.username: {SERVER}", f"state.password: {SERVER}"],
        ),
        (
            {"url": URL, "client_cert_file": "nowhere.pem"},
            [
                "state.client_cert_file: is for TLS; write rediss:// in url",
            ],
        ),
        (
            {"url": "rediss://a", "ca_file": "nowhere.pem"},
            [
                (
                    "state.ca_file: cannot read nowhere.pem (No such file or directory);"
                    " correct the path or its rights"
                ),
            ],
        ),
        (
            {"url": "redis://mymaster", "sentinels": ["a:26379", "b"]},
            ["state.sentinels[1]: is not an address; write host:port"],
        ),
        ({"sentinels": "a:26379"}, [f"state.sentinels: {SERVER}"]),
        ({"url": URL, "username": "u"}, ["state.username: has no password; give password_file"]),
        ({"url": URL, "password": ""}, ["state.password: is empty; give it, or password_file"]),
        (
            {"url": URL, "password": "CANARY", "password_file": "nowhere"},
            ["state.password_file: is given as well as password; remove one of the two"],
        ),
        (
            {"url": URL, "password_file": "nowhere"},
            [
                (
                    "state.password_file: cannot use the secret file nowhere: No such file or"
                    " directory; correct the path or its rights"
                ),
            ],
        ),
    ],
)
def test_each_mistake_has_its_remedy(state: dict[str, Any], problems: list[str]) -> None:
    """Without any value that may be a secret."""
    with pytest.raises(ConfigurationError) as caught:
        from_data({"sources": [SOURCE], "state": state})

    assert problems == list(caught.value.problems)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "address", "database", "tls"),
    [
        (URL, Address("valkey.example", 6380), 2, False),
        ("rediss://valkey.example", Address("valkey.example", 6379), 0, True),
        ("redis://[::1]:7000/", Address("::1", 7000), 0, False),
    ],
)
def test_a_url_is_read(url: str, address: Address, database: int, tls: bool) -> None:
    """Port and database have defaults."""
    settings = StateSettings(url=url)

    assert address == settings.address
    assert database == settings.database
    assert tls == settings.tls


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, 1),
        ("redis://10.0.0.1", 1),
        ("redis://localhost", 0),
        ("redis://127.0.0.1:6379/0", 0),
        ("redis://[::1]", 0),
        ("rediss://valkey.example", 0),
    ],
)
def test_a_state_in_the_clear_is_warned_of(url: str, expected: int) -> None:
    """A state without encryption must be a risk, unless it is on this machine."""
    settings = from_data({"sources": [SOURCE], "state": {"url": url}})

    found = list(settings.risks())

    assert expected == len(found)
    assert all(risk.startswith("url of the state begins with redis://") for risk in found)


@pytest.mark.parametrize(("sentinel", "expected"), [("10.0.0.1:26379", 1), ("localhost:26379", 0)])
def test_behind_sentinels_their_hosts_count(sentinel: str, expected: int) -> None:
    """The URL names no host then, but a service."""
    state = {"url": "redis://myMaster/1", "sentinels": sentinel}
    settings = from_data({"sources": [SOURCE], "state": state})

    found = list(settings.risks())

    assert expected == len(found)
    assert "myMaster" == settings.state.service


def test_the_password_is_a_secret(tmp_path: Path) -> None:
    """The password must be shown nowhere, and its file belong to the configuration."""
    file = tmp_path / "password"
    file.write_text("CANARY-file\n")
    given = {"url": URL, "username": "u"}
    by_value = from_data({"sources": [SOURCE], "state": {**given, "password": "CANARY-value"}})
    by_file = from_data({"sources": [SOURCE], "state": {**given, "password_file": str(file)}})

    shown = [text for each in (by_value, by_file) for text in (repr(each), str(each))]
    shown += [json.dumps(redacted(each)) for each in (by_value, by_file)]

    assert not [text for text in shown if "CANARY-" in text]
    assert "CANARY-value" in [secret.known() for secret in by_value.secrets()]
    assert "CANARY-file" in [secret.reveal() for secret in by_file.secrets()]
    assert file in by_file.files()


def test_shards_that_share_a_server_are_no_danger() -> None:
    """Shards that share a server must be no risk."""
    settings = from_data(
        {
            "sources": [SOURCE],
            "sharding": {"total_shards": 9},
            "state": {"url": "rediss://valkey.example"},
        }
    )

    assert 9 == settings.sharding.total_shards
    assert [] == list(settings.risks())
