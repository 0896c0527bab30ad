from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from exporter.sources.eggplant.logins import Login, login_of
from tests.sources.eggplant.support import URL, settings_of


USER = {"username": "user", "password": "p&ss=1"}
CLIENT = {"client_id": "client:dai:x", "client_secret": "s&cret=1"}


def login(**values: Any) -> Login:
    """Return the login of an `auth` section."""
    found = login_of(settings_of(**values))
    assert found is not None
    return found


def test_needs_no_login_for_a_given_token() -> None:
    """A token that is given is used as it is."""
    assert login_of(settings_of(auth={"access_token": "x"})) is None


@pytest.mark.parametrize("path", ["/auth", "/ai/auth"])
def test_logs_a_user_in_by_form(path: str) -> None:
    """Both user logins take a form with name and password."""
    call = login(auth={"login_url": path, **USER}).call("token")

    assert ("POST", URL + path) == (call.method, call.url)
    assert "application/x-www-form-urlencoded" == call.headers["content-type"]
    assert {"username": ["user"], "password": ["p&ss=1"]} == parse_qs(call.content.decode())


def test_logs_a_client_in_at_the_realm() -> None:
    """The realm's login takes the form of the client credentials grant."""
    path = "/auth/realms/eggplant/protocol/openid-connect/token"

    call = login(auth={"token_url": path, **CLIENT}).call("token")

    assert ("POST", URL + path) == (call.method, call.url)
    assert "application/x-www-form-urlencoded" == call.headers["content-type"]
    assert {
        "grant_type": ["client_credentials"],
        "client_id": ["client:dai:x"],
        "client_secret": ["s&cret=1"],
    } == parse_qs(call.content.decode())


@pytest.mark.parametrize("path", ["/api/v1/auth", "/api/v2/auth", "api/v2/auth"])
def test_logs_a_client_in_at_the_public_api(path: str) -> None:
    """The public API's login takes JSON without a grant."""
    call = login(auth={"token_url": path, **CLIENT}).call("token")

    assert f"{URL}/{path.removeprefix('/')}" == call.url
    assert "application/json" == call.headers["content-type"]
    assert CLIENT == msgspec.json.decode(call.content)


@pytest.mark.parametrize(
    ("url", "endpoint", "complete"),
    [
        ("http://dai:8000", "/auth", "http://dai:8000/auth"),
        ("http://dai:8000/", "auth", "http://dai:8000/auth"),
        ("http://host/dai", "auth", "http://host/dai/auth"),
        ("http://host/dai", "/auth", "http://host/auth"),
        ("http://dai", "https://sso.example/auth", "https://sso.example/auth"),
    ],
)
def test_counts_a_path_from_the_url(url: str, endpoint: str, complete: str) -> None:
    """A login is at a path of the server, or wherever its URL says."""
    assert complete == login(url=url, auth={"login_url": endpoint, **USER}).url


def test_is_not_repeated() -> None:
    """A login can use up a licence, so it is not sent again on its own."""
    assert login(auth={"login_url": "/auth", **USER}).call("token").repeatable is False


def test_shows_no_secret() -> None:
    """The repr of a login hides the secret."""
    assert "p&ss=1" not in repr(login(auth={"login_url": "/auth", **USER}))
