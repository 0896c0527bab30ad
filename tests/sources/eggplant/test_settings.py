from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import ConfigurationError
from exporter.settings.load import from_data, load, redacted
from exporter.sources.eggplant.settings import EggplantSettings, name_and_port


if TYPE_CHECKING:
    from pathlib import Path


CLIENT = {"token_url": "/auth", "client_id": "client", "client_secret": "canary"}
USER = {"login_url": "/auth", "username": "user", "password": "canary"}
SCHEMES = (
    "access_token_file; or token_url, client_id and client_secret_file;"
    " or login_url, username and password_file"
)


def mistakes(**values: Any) -> dict[str, str]:
    """Return what is wrong with a source, by place."""
    source = {"provider": "eggplant", "url": "http://dai", "auth": {"access_token": "x"}}
    try:
        from_data({"sources": [source | values]})
    except ConfigurationError as error:
        texts = (problem.removeprefix("sources[0].") for problem in error.problems)
        return dict(text.split(": ", 1) for text in texts)
    return {}


@pytest.mark.parametrize("auth", [{"access_token": "canary"}, CLIENT, USER])
def test_takes_each_scheme(auth: dict[str, str]) -> None:
    """A token, a client or a user is enough."""
    assert {} == mistakes(auth=auth)


def test_has_defaults() -> None:
    """Absent agents are remembered for a day, ended runs for an hour."""
    settings = EggplantSettings()

    assert (86_400.0, 3_600.0) == (settings.remember_for, settings.run_linger)
    assert 60.0 == settings.interval_for("agents")


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({}, {"auth": f"is missing; give {SCHEMES}"}),
        (
            {**CLIENT, "access_token": "canary"},
            {"auth": f"mixes ways to get a token; keep one: {SCHEMES}"},
        ),
        ({**CLIENT, **USER}, {"auth": f"mixes ways to get a token; keep one: {SCHEMES}"}),
        (
            {"client_id": "client"},
            {
                "auth.token_url": "is missing; it belongs to client_id",
                "auth.client_secret": "is missing; give it, or client_secret_file",
            },
        ),
        (
            {"password": "canary"},
            {
                "auth.login_url": "is missing; it belongs to password",
                "auth.username": "is missing; it belongs to password",
            },
        ),
        (
            {"access_token": "canary", "access_token_file": "canary"},
            {"auth.access_token_file": "is given as well as access_token; remove one of the two"},
        ),
        ({"access_token": ""}, {"auth.access_token": "is empty; give it, or access_token_file"}),
        ({**USER, "username": ""}, {"auth.username": "must not be empty"}),
        (
            {**USER, "login_url": "/api/v2/auth"},
            {
                "auth.login_url": "is for clients, not users;"
                " give token_url, client_id and client_secret_file"
            },
        ),
        (
            {"acces_token": "canary"},
            {"auth.acces_token": "unknown key; did you mean access_token?"},
        ),
    ],
)
def test_demands_exactly_one_scheme(auth: dict[str, str], expected: dict[str, str]) -> None:
    """A missing, doubled or mixed scheme must be reported with its remedy and without a secret."""
    assert expected == mistakes(auth=auth)


@pytest.mark.parametrize(
    "url", ["ftp://dai/auth", "http://user:canary@dai/auth", "/auth?x=canary", "http://", "a b"]
)
def test_refuses_an_odd_endpoint(url: str) -> None:
    """An endpoint is a path or a URL without credentials and query."""
    text = "is neither a path such as /auth nor an http or https URL without user and query"

    assert {"auth.login_url": text} == mistakes(auth={**USER, "login_url": url})


def test_refuses_to_weaken_https() -> None:
    """Credentials for a server behind TLS do not go out in the clear."""
    auth = {**USER, "login_url": "http://sso/auth"}

    assert {
        "auth.login_url": "would send the credentials unencrypted; use https, as url does"
    } == mistakes(url="https://dai", auth=auth)
    assert {} == mistakes(url="https://dai", auth=USER)
    assert {} == mistakes(url="http://dai", auth={**USER, "login_url": "https://sso/auth"})


def test_refuses_to_expect_the_unwanted() -> None:
    """An agent cannot be expected and filtered out."""
    assert {
        "expected_agents[1]": "is expected, but include and exclude filter it out;"
        " change one of them"
    } == mistakes(expected_agents=["a", "b"], exclude={"agents": "b"})


@pytest.mark.parametrize(
    "agent", ["a", "a:5400", "10.0.0.5:5400", "10.0.0.5", "fe80::1", "fe80::5400", "a:b", "a:0"]
)
def test_expects_agents_with_and_without_port(agent: str) -> None:
    """An agent is expected by its name, or by name and port."""
    assert {} == mistakes(expected_agents=[agent])


@pytest.mark.parametrize(
    ("agent", "name", "port"),
    [
        ("a", "a", ""),
        ("a:5400", "a", "5400"),
        ("10.0.0.5:5401", "10.0.0.5", "5401"),
        ("lab: one:5400", "lab: one", "5400"),
        ("fe80::1", "fe80::1", ""),
        ("2001:db8::5400", "2001:db8::5400", ""),
        (":5400", ":5400", ""),
        ("a:", "a:", ""),
        ("a:b", "a:b", ""),
        ("a:123456", "a:123456", ""),
        ("a:0", "a:0", ""),
    ],
)
def test_tells_name_and_port_apart(agent: str, name: str, port: str) -> None:
    """Digits after the last colon must be read as the port, unless the whole is an address."""
    assert (name, port) == name_and_port(agent)


def test_filters_the_expected_by_name() -> None:
    """The port of an expected agent is no part of what filters compare."""
    assert {} == mistakes(expected_agents=["a:5400", "a:5401"], include={"agents": "a"})
    assert ["expected_agents[0]"] == list(
        mistakes(expected_agents=["a:5400"], exclude={"agents": "a"})
    )


def test_reads_the_file(tmp_path: Path) -> None:
    """The section of the configuration file is read, files count from its folder."""
    (tmp_path / "secret").write_text("canary-secret\n")
    content = b"""
sources:
  - provider: eggplant
    name: lab
    url: http://localhost
    auth: {token_url: /auth/realms/eggplant/protocol/openid-connect/token,
           client_id: client, client_secret_file: secret}
    expected_agents: [martin2]
    remember_for: 12h
"""

    loaded = load(tmp_path / "loadfleet.yml", content=content, environ={})

    (source,) = loaded.settings.sources
    assert isinstance(source, EggplantSettings)
    assert (("martin2",), 43_200.0) == (source.expected_agents, source.remember_for)
    assert ["canary-secret"] == [secret.reveal() for secret in source.secrets()]
    (tmp_path / "secret").write_text("another")
    assert loaded.hash != load(tmp_path / "loadfleet.yml", content=content, environ={}).hash


def test_reads_the_environment() -> None:
    """A source can be given by the environment alone."""
    environ = {
        "LOADFLEET_EGGPLANT_URL": "http://dai",
        "LOADFLEET_EGGPLANT_AUTH__ACCESS_TOKEN": "canary",
        "LOADFLEET_EGGPLANT_EXPECTED_AGENTS": "a,b",
    }

    (source,) = load(None, content=b"", environ=environ).settings.sources

    assert isinstance(source, EggplantSettings)
    assert ("a", "b") == source.expected_agents
    assert ["canary"] == [secret.reveal() for secret in source.secrets()]


@pytest.mark.parametrize("auth", [{"access_token": "canary"}, CLIENT, USER])
def test_shows_no_secret(auth: dict[str, str]) -> None:
    """Neither the `repr` nor the redacted settings may show a secret."""
    environ = {"LOADFLEET_EGGPLANT_URL": "http://dai"} | {
        f"LOADFLEET_EGGPLANT_AUTH__{key.upper()}": value for key, value in auth.items()
    }

    settings = load(None, content=b"", environ=environ).settings

    assert "canary" not in repr(settings)
    assert "canary" not in str(redacted(settings))
    assert "<secret>" in str(redacted(settings))


def test_names_the_place_in_the_file() -> None:
    """A mistake in the nested section is reported with its whole path."""
    content = b"sources: [{provider: eggplant, url: 'http://dai', auth: {username: x, pass: y}}]"

    with pytest.raises(ConfigurationError) as caught:
        load(None, content=content, environ={})

    assert "sources[0].auth.pass: unknown key; did you mean password?" in caught.value.problems
