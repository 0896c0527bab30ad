from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.secret import Secret
from exporter.errors import BlockedError, CallError, PollError, Reason, SuspectError
from exporter.sources.eggplant.tokens import GivenToken, Login, LoginTokens, Token, login_of
from tests.sources.eggplant.support import CLIENT, URL, Bench, Server, fixture, settings_of
from tests.support.clock import settle


if TYPE_CHECKING:
    from pathlib import Path


USER = {"username": "user", "password": "p&ss=1"}
KEY = {"client_id": "client:dai:x", "client_secret": "s&cret=1"}


class Tokens(Bench):
    """The tokens of a source that logs in, without the source."""

    def __init__(self, server: Server | None = None, **auth: Any) -> None:
        super().__init__(server, auth={**CLIENT, **auth})
        login = login_of(self.settings)
        assert login is not None
        self.tokens = LoginTokens(login, self.context, http=self.http)

    async def get(self, *, after: float = 0.0) -> Token:
        """Move the clock and ask for a token."""
        self.clock.shift(after)
        return await self.tokens.get()


def reply(**fields: object) -> tuple[int, bytes]:
    """Return a good reply to a login."""
    return 200, json.dumps(fields).encode()


def login(**values: Any) -> Login:
    """Return the login of an `auth` section."""
    found = login_of(settings_of(**values))
    assert found is not None
    return found


class TestLogin:
    def test_needs_no_login_for_a_given_token(self) -> None:
        """A token that is given is used as it is."""
        assert login_of(settings_of(auth={"access_token": "x"})) is None

    @pytest.mark.parametrize("path", ["/auth", "/ai/auth"])
    def test_logs_a_user_in_by_form(self, path: str) -> None:
        """A user must log in by a form of name and password."""
        call = login(auth={"login_url": path, **USER}).call()

        assert ("POST", URL + path) == (call.method, call.url)
        assert "application/x-www-form-urlencoded" == call.headers["content-type"]
        assert {"username": ["user"], "password": ["p&ss=1"]} == parse_qs(call.content.decode())

    def test_logs_a_client_in_at_the_realm(self) -> None:
        """The realm's login takes the form of the client credentials grant."""
        path = "/auth/realms/eggplant/protocol/openid-connect/token"

        call = login(auth={"token_url": path, **KEY}).call()

        assert ("POST", URL + path) == (call.method, call.url)
        assert "application/x-www-form-urlencoded" == call.headers["content-type"]
        assert {
            "grant_type": ["client_credentials"],
            "client_id": ["client:dai:x"],
            "client_secret": ["s&cret=1"],
        } == parse_qs(call.content.decode())

    @pytest.mark.parametrize("path", ["/api/v1/auth", "/api/v2/auth", "api/v2/auth"])
    def test_logs_a_client_in_at_the_public_api(self, path: str) -> None:
        """The public API's login takes JSON without a grant."""
        call = login(auth={"token_url": path, **KEY}).call()

        assert f"{URL}/{path.removeprefix('/')}" == call.url
        assert "application/json" == call.headers["content-type"]
        assert KEY == msgspec.json.decode(call.content)

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
    def test_counts_a_path_from_the_url(self, url: str, endpoint: str, complete: str) -> None:
        """A login is at a path of the server, or wherever its URL says."""
        assert complete == login(url=url, auth={"login_url": endpoint, **USER}).url

    def test_is_not_repeated(self) -> None:
        """A login can use up a licence, so it is not sent again on its own."""
        assert login(auth={"login_url": "/auth", **USER}).call().repeatable is False

    def test_shows_no_secret(self) -> None:
        """The repr of a login hides the secret."""
        assert "p&ss=1" not in repr(login(auth={"login_url": "/auth", **USER}))


class TestGiven:
    async def test_is_used_as_it_is(self) -> None:
        """A given token must be used as it is."""
        tokens = GivenToken(Secret(value="given"))

        assert Token(value="given", fresh=True) == await tokens.get()

    async def test_is_read_again_after_a_refusal(self, tmp_path: Path) -> None:
        """A refused token's file must be read again, even if its time and size did not change."""
        path = tmp_path / "token"
        path.write_text("old-token\n")
        status = path.stat()
        tokens = GivenToken(Secret(path=path))
        old = await tokens.get()
        path.write_text("new-token\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        tokens.refused(old)

        assert "new-token" == (await tokens.get()).value

    @pytest.mark.parametrize("value", ["", "canary token", "canary\r\nx: y", "canäry"])
    async def test_must_fit_a_header(self, value: str) -> None:
        """A token that no header can carry must be refused unsent and unquoted."""
        tokens = GivenToken(Secret(value=value))

        with pytest.raises(CallError) as caught:
            await tokens.get()

        assert Reason.AUTH == caught.value.reason
        assert "can" not in str(caught.value).replace("no header can carry", "")

    def test_shows_no_token(self) -> None:
        """The repr of a token hides it."""
        assert "Token(<secret>, fresh=True)" == repr(Token(value="canary", fresh=True))


class TestKeeping:
    async def test_logs_in_at_the_first_need(self) -> None:
        """The login must be sent at the first need, and its token be fresh."""
        bench = Tokens()

        assert 0 == len(bench.server.logins)
        assert Token(value="token-1", fresh=True) == await bench.get()

    async def test_keeps_a_token(self) -> None:
        """Polls while a token lives cause no login."""
        bench = Tokens()
        await bench.get()

        tokens = [await bench.get(after=60) for _ in range(4)]

        assert [Token(value="token-1", fresh=False)] * 4 == tokens

    @pytest.mark.parametrize(
        ("life", "kept"), [(300, 270), (600, 570), (3600, 3570), (604_800, 604_770), (60, 48)]
    )
    async def test_renews_before_the_end(self, life: int, kept: int) -> None:
        """A token is renewed 30 seconds before its end, a short-lived one in its last fifth."""
        bench = Tokens()
        bench.server.expires_in = life
        await bench.get()

        assert "token-1" == (await bench.get(after=kept - 1)).value
        assert "token-2" == (await bench.get(after=1)).value

    @pytest.mark.parametrize("life", [None, "soon", "", 0, -5, "nan", [], {}, True])
    async def test_assumes_a_life(self, life: object) -> None:
        """A life that is missing or strange counts as the shortest one documented."""
        bench = Tokens()
        bench.server.expires_in = life
        await bench.get()

        assert "token-1" == (await bench.get(after=269)).value
        assert "token-2" == (await bench.get(after=1)).value
        assert 0 < bench.count("vendor_surprises_total", kind="type") + bench.count(
            "vendor_surprises_total", kind="missing_field"
        )

    async def test_reads_a_life_in_text(self) -> None:
        """A number in quotes is a number."""
        bench = Tokens()
        bench.server.expires_in = "600"
        await bench.get()

        assert "token-1" == (await bench.get(after=500)).value

    async def test_bounds_a_life(self) -> None:
        """No token is held for longer than the longest life documented."""
        bench = Tokens()
        bench.server.login = (200, b'{"access_token": "token", "expires_in": 1e300}')
        await bench.get()

        await bench.get(after=604_800)

        assert 2 == len(bench.server.logins)

    @pytest.mark.parametrize(
        "name", ["token.dai", "token.dai_public_api", "token.eai", "token.eai_rest"]
    )
    async def test_reads_each_edition(self, name: str) -> None:
        """The replies of all documented logins are read without a surprise."""
        bench = Tokens()
        bench.server.login = (200, fixture(name))

        assert "dummy-token-for-tests" == (await bench.get()).value
        assert 0 == bench.count("vendor_surprises_total", kind="type")
        assert 0 == bench.count("vendor_surprises_total", kind="missing_field")

    async def test_reads_the_other_name(self) -> None:
        """A token must also be read from `access_type`, the name in one sample of the vendor."""
        bench = Tokens()
        bench.server.login = reply(access_type="other", expires_in=604_800)

        assert "other" == (await bench.get()).value

    async def test_logs_in_anew_after_a_refusal(self) -> None:
        """A token that was refused is dropped."""
        bench = Tokens()

        bench.tokens.refused(await bench.get())

        assert Token(value="token-2", fresh=True) == await bench.get()

    async def test_keeps_a_token_when_an_older_one_is_refused(self) -> None:
        """A refusal that comes home late does not cost the new token."""
        bench = Tokens()
        old = await bench.get()
        await bench.get(after=300)

        bench.tokens.refused(old)

        assert "token-2" == (await bench.get()).value

    async def test_logs_in_anew_with_a_changed_secret(self, tmp_path: Path) -> None:
        """A token got with a secret that was replaced is not used any longer."""
        path = tmp_path / "secret"
        path.write_text("first")
        bench = Tokens(client_secret=None, client_secret_file=path)
        await bench.get()
        path.write_text("the second")

        assert "token-2" == (await bench.get()).value
        assert b"client_secret=the+second" in bench.server.logins[1].content

    async def test_keeps_a_token_while_the_secret_is_away(self, tmp_path: Path) -> None:
        """A file that cannot be read in the middle of its rotation costs nothing."""
        path = tmp_path / "secret"
        path.write_text("first")
        bench = Tokens(client_secret=None, client_secret_file=path)
        await bench.get()
        path.unlink()

        assert "token-1" == (await bench.get()).value

    async def test_shows_no_token(self) -> None:
        """The repr of what is held hides the token."""
        bench = Tokens()
        await bench.get()

        assert "_Held(<secret>)" == repr(bench.tokens._held)


class TestFailedRenewal:
    @pytest.mark.parametrize("login", [(403, b"{}"), (500, b""), (200, b"<html>")])
    async def test_leaves_the_old_token_to_its_end(self, login: tuple[int, bytes]) -> None:
        """A renewal comes early enough to fail, for instance for want of a second licence."""
        bench = Tokens()
        await bench.get()
        bench.server.login = login

        tokens = [await bench.get(after=270), await bench.get(after=29)]

        assert [Token(value="token-1", fresh=False)] * 2 == tokens
        with pytest.raises(PollError):
            await bench.get(after=1)

    @pytest.mark.parametrize("login", [(403, b"{}"), (500, b""), (200, b"<html>")])
    async def test_is_tried_once_while_the_old_token_lives(self, login: tuple[int, bytes]) -> None:
        """A failed login must not be repeated at each call while the old token is valid."""
        bench = Tokens()
        await bench.get()
        bench.server.login = login
        await bench.get(after=270)

        for _ in range(14):
            await bench.get(after=2)

        assert 2 == len(bench.server.logins)

    async def test_is_made_good_at_the_end(self) -> None:
        """When the old token has ended, and its licence is free, the login waits no longer."""
        bench = Tokens()
        await bench.get()
        bench.server.login = (403, b"{}")
        await bench.get(after=299)
        bench.server.login = None

        assert Token(value="token-3", fresh=True) == await bench.get(after=1)

    async def test_by_refusal_is_a_suspect(self) -> None:
        """A refused login must be a suspect call."""
        bench = Tokens()
        await bench.get()
        bench.server.login = (401, b"{}")

        with pytest.raises(SuspectError):
            await bench.get(after=270)


class TestOneAtATime:
    async def test_shares_a_login(self) -> None:
        """Two polls that need a token at once cause one login."""
        bench = Tokens()
        bench.server.gate = settle

        tokens = await asyncio.gather(*(bench.get() for _ in range(5)))

        assert {"token-1"} == {token.value for token in tokens}
        assert 1 == len(bench.server.logins)

    async def test_shares_a_failure(self) -> None:
        """Calls that waited for a login that failed must fail too, without another login."""
        bench = Tokens()
        bench.server.gate = settle
        bench.server.login = (401, b"{}")

        outcomes = await asyncio.gather(*(bench.get() for _ in range(5)), return_exceptions=True)

        assert {SuspectError} == {type(outcome) for outcome in outcomes}
        assert 1 == len(bench.server.logins)

    async def test_survives_a_cancelled_login(self) -> None:
        """When a login is cancelled, the next call must log in."""
        bench = Tokens()
        door = asyncio.Event()
        bench.server.gate = door.wait
        first, second = asyncio.create_task(bench.get()), asyncio.create_task(bench.get())
        await settle()
        first.cancel()
        await settle()
        door.set()

        assert "token-2" == (await second).value
        assert first.cancelled()


class TestRefusal:
    @pytest.mark.parametrize("status", [400, 401])
    async def test_is_a_suspect(self, status: int) -> None:
        """A refused login may be a refusal of the credentials."""
        bench = Tokens()
        bench.server.login = (status, b'{"message": "canary"}')

        with pytest.raises(SuspectError) as caught:
            await bench.get()

        assert Reason.AUTH == caught.value.reason
        assert f"token: the login was refused ({status})" == str(caught.value)
        assert 1 == bench.count("http_requests_total", operation="token", outcome="auth")

    async def test_is_tried_again(self) -> None:
        """A refused login must be tried again: the guard alone decides when."""
        bench = Tokens()
        bench.server.login = (401, b"{}")
        with pytest.raises(SuspectError):
            await bench.get()
        bench.server.login = None

        assert "token-2" == (await bench.get()).value

    async def test_names_the_licence(self) -> None:
        """No free licence is no fault of the credentials, and the message says what it is."""
        bench = Tokens()
        bench.server.login = (403, fixture("token.403"))

        with pytest.raises(CallError) as caught:
            await bench.get()

        assert Reason.ACCESS_DENIED == caught.value.reason
        assert "token: no concurrent user licence is free (403)" == str(caught.value)

    @pytest.mark.parametrize(
        ("login", "reason"),
        [((403, b"{}"), Reason.ACCESS_DENIED), ((200, b"<html>"), Reason.DECODE)],
    )
    async def test_pauses_after_an_answer_without_token(
        self, login: tuple[int, bytes], reason: Reason
    ) -> None:
        """A login that may have cost a licence is not repeated within a minute."""
        bench = Tokens()
        bench.server.login = login
        with pytest.raises(CallError):
            await bench.get()

        with pytest.raises(BlockedError) as caught:
            await bench.get(after=59)

        assert reason == caught.value.reason
        assert bench.clock.monotonic + 1 == caught.value.retry_at
        assert "the next login waits" in str(caught.value)
        assert 1 == len(bench.server.logins)
        bench.server.login = None
        assert "token-2" == (await bench.get(after=1)).value

    async def test_pauses_although_there_was_a_token(self) -> None:
        """A token that ended long ago has no say in the pause."""
        bench = Tokens()
        await bench.get()
        bench.server.login = (403, b"{}")
        with pytest.raises(CallError):
            await bench.get(after=400)

        with pytest.raises(BlockedError):
            await bench.get(after=59)

    async def test_does_not_pause_with_another_secret(self, tmp_path: Path) -> None:
        """A new secret is tried at once."""
        path = tmp_path / "secret"
        path.write_text("first")
        bench = Tokens(client_secret=None, client_secret_file=path)
        bench.server.login = (403, b"{}")
        with pytest.raises(CallError):
            await bench.get()
        path.write_text("the second")
        bench.server.login = None

        assert "token-2" == (await bench.get()).value

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (302, Reason.HTTP_4XX),
            (404, Reason.HTTP_4XX),
            (500, Reason.HTTP_5XX),
            (503, Reason.HTTP_5XX),
        ],
    )
    async def test_is_not_every_failure(self, status: int, reason: Reason) -> None:
        """A failed login that is no refusal must have its own reason."""
        bench = Tokens()
        bench.server.login = (status, b"canary")

        with pytest.raises(CallError) as caught:
            await bench.get()

        assert reason == caught.value.reason

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<html>canary</html>",
            b"[]",
            b"null",
            b'"canary"',
            b"{}",
            b'{"access_token": null}',
            b'{"access_token": ""}',
            b'{"access_token": 5}',
            b'{"access_token": "canary\\r\\nx: y"}',
            b'{"access_token": "canary \\u00e9"}',
            b'{"access_token": {"canary": 1}, "expires_in": 300}',
        ],
    )
    async def test_of_garbage_quotes_nothing(self, body: bytes) -> None:
        """A reply without a token that a header can carry is an error without a part of it."""
        bench = Tokens()
        bench.server.login = (200, body)

        with pytest.raises(CallError) as caught:
            await bench.get()

        assert Reason.DECODE == caught.value.reason
        assert "canary" not in str(caught.value)

    async def test_needs_a_readable_secret(self, tmp_path: Path) -> None:
        """While the secret's file is missing, no login may be sent, and the error name it."""
        path = tmp_path / "secret"
        bench = Tokens(client_secret=None, client_secret_file=path)

        with pytest.raises(CallError, match="secret") as caught:
            await bench.get()

        assert Reason.AUTH == caught.value.reason
        assert [] == bench.server.logins


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(
    st.binary()
    | _VALUES.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({"access_token": _VALUES | st.just("t"), "expires_in": _VALUES}).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_reads_any_reply(body: bytes) -> None:
    """Any answer to a login must give a token that a header can carry, or a `PollError`."""
    bench = Tokens()
    bench.server.login = (200, body)
    try:
        token = asyncio.run(bench.get())
    except PollError:
        return
    assert token.value.isascii()
    assert token.value.isprintable()
