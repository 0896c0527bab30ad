"""A name and a password for a source that may ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exporter.errors import CallError, ConfigurationError
from exporter.settings.load import from_data, redacted
from exporter.sources.basic import BasicSettings


if TYPE_CHECKING:
    from pathlib import Path


PROVIDERS = ("locust", "selenium")


def settings(**values: Any) -> BasicSettings:
    return BasicSettings.model_validate({"url": "http://127.0.0.1", **values})


def mistakes(provider: str, **values: Any) -> dict[str, str]:
    """Return what is wrong with a source, by place."""
    source = {"provider": provider, "url": "http://127.0.0.1", **values}
    try:
        from_data({"sources": [source]})
    except ConfigurationError as error:
        texts = (problem.removeprefix("sources[0].") for problem in error.problems)
        return dict(text.split(": ", 1) for text in texts)
    return {}


def test_sends_nothing_without_a_password() -> None:
    """Most of these sources ask for nothing, and there is nothing that could be refused."""
    nobody = settings()

    assert {} == nobody.authorization()
    assert "" == nobody.fingerprint()
    assert [] == list(nobody.secrets())


def test_sends_both_in_a_header() -> None:
    """The example of RFC 7617."""
    both = settings(username="Aladdin", password="open sesame")

    assert {"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="} == both.authorization()


def test_sends_other_letters_as_utf_8() -> None:
    """RFC 7617 has an example of that, too."""
    both = settings(username="test", password="123\u00a3")

    assert {"authorization": "Basic dGVzdDoxMjPCow=="} == both.authorization()


def test_reads_a_password_that_changed(tmp_path: Path) -> None:
    """A file is read for each call, so that a new password needs no restart."""
    file = tmp_path / "password"
    file.write_text("open sesame\n")
    both = settings(username="Aladdin", password_file=str(file))
    before = both.authorization(), both.fingerprint()

    file.write_text("another\n")

    assert "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==" == before[0]["authorization"]
    assert before[0] != both.authorization()
    assert before[1] != both.fingerprint()
    file.unlink()
    with pytest.raises(CallError):
        both.authorization()


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"username": "us", "password": "canary"}, {}),
        ({"password": "canary"}, {"username": "is missing; it belongs to password"}),
        (
            {"username": "us"},
            {"password": "is missing; give password_file, or leave out username"},
        ),
        (
            {"username": "us", "password": ""},
            {"password": "is empty; give it, or password_file"},
        ),
        (
            {"username": "us", "password": "canary", "password_file": "canary"},
            {"password_file": "is given as well as password; remove one of the two"},
        ),
    ],
)
def test_takes_both_or_neither(
    provider: str, values: dict[str, Any], expected: dict[str, str]
) -> None:
    """A missing or doubled credential must be reported with its remedy and without a secret."""
    assert expected == mistakes(provider, **values)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("username", ["", "a:b"])
def test_refuses_an_odd_name(provider: str, username: str) -> None:
    """A name with a colon would be another name and another password."""
    assert {"username"} == mistakes(provider, username=username, password="canary").keys()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_shows_no_password(provider: str) -> None:
    """Neither the `repr` nor the redacted settings may show the password."""
    source = {"provider": provider, "url": "http://127.0.0.1", "username": "us"}

    loaded = from_data({"sources": [source | {"password": "canary"}]})

    assert "canary" not in repr(loaded)
    assert "canary" not in str(redacted(loaded))
    assert "<secret>" in str(redacted(loaded))


def test_warns_of_a_password_in_the_clear_and_not_of_none() -> None:
    """A URL without encryption must be a risk only if credentials are sent."""
    url = "http://host.example"

    assert [] == list(settings(url=url).risks())
    assert 1 == len(list(settings(url=url, username="us", password="canary").risks()))
