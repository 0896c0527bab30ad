"""Settings of an Eggplant DAI server."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Annotated, ClassVar, Literal
from urllib.parse import urljoin, urlsplit

from pydantic import AfterValidator, Field, SecretStr, TypeAdapter

from exporter.config.checks import secret_mistakes
from exporter.config.secret import Secret
from exporter.config.types import Duration, FilePath, Url, WrongValueError
from exporter.config.validation import Mistake, Section
from exporter.sources.settings import Name, SourceSettings, expected_mistakes


_URL: TypeAdapter[str] = TypeAdapter(Url)

_PUBLIC_API = re.compile(r"/api/v[0-9]+/auth/?")

_PORT = re.compile(r"[1-9][0-9]{0,4}")

_SCHEMES = (
    "access_token_file; or token_url, client_id and client_secret_file;"
    " or login_url, username and password_file"
)


def _check_endpoint(text: str) -> str:
    try:
        _URL.validate_python(text if "://" in text else urljoin("http://host/", text))
    except ValueError:
        # Its cause would quote the text.
        raise WrongValueError(
            "is neither a path such as /auth nor an http or https URL without user and query"
        ) from None
    return text


#: A URL, or a path that counts from the source's URL.
Endpoint = Annotated[str, Field(min_length=1), AfterValidator(_check_endpoint)]


class EggplantAuth(Section):
    """The origin of the access token: exactly one of three schemes.

    It is given; or a client logs in (`token_url`); or a user does (`login_url`).

    Attributes:
        access_token: The token itself.
        access_token_file: A file with it.
        token_url: Where a client gets a token: a URL, or a path that counts from `url`.
        client_id: The client.
        client_secret: Its secret.
        client_secret_file: A file with the secret.
        login_url: Where a user logs in: a URL, or a path that counts from `url`.
        username: The user.
        password: The user's password.
        password_file: A file with the password.
    """

    access_token: SecretStr | None = None
    access_token_file: FilePath | None = None
    token_url: Endpoint | None = None
    client_id: Annotated[str, Field(min_length=1)] | None = None
    client_secret: SecretStr | None = None
    client_secret_file: FilePath | None = None
    login_url: Endpoint | None = None
    username: Annotated[str, Field(min_length=1)] | None = None
    password: SecretStr | None = None
    password_file: FilePath | None = None

    @cached_property
    def schemes(self) -> tuple[tuple[str, ...], ...]:
        """List the schemes of which something is given, each as its fields, the secret last."""
        every = (
            ("access_token",),
            ("token_url", "client_id", "client_secret"),
            ("login_url", "username", "password"),
        )
        return tuple(scheme for scheme in every if not self._given.isdisjoint(scheme))

    @cached_property
    def _given(self) -> frozenset[str]:
        """Name the fields that are given; a secret is one, by value or file."""
        return frozenset(
            name.removesuffix("_file")
            for name in self.model_fields_set
            if getattr(self, name) is not None
        )

    @cached_property
    def secret(self) -> Secret:
        """The secret of the scheme."""
        name = self.schemes[0][-1]
        return Secret(getattr(self, name), getattr(self, f"{name}_file"))

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong with the scheme, if it is one."""
        if len(self.schemes) != 1:
            what = "mixes ways to get a token; keep one:" if self.schemes else "is missing; give"
            yield Mistake((), f"{what} {_SCHEMES}")
            return
        *names, secret = self.schemes[0]
        for name in names:
            if getattr(self, name) is None:
                given = next(each for each in self.schemes[0] if each in self._given)
                yield Mistake((name,), f"is missing; it belongs to {given}")
        yield from secret_mistakes(self, secret)


class EggplantSettings(SourceSettings):
    """One server.

    One call covers all agents, so calls are never concurrent, whatever `concurrency` says.

    Attributes:
        url: What stands before `/api/sut/status`.
        auth: Where the access token comes from.
        expected_agents: Agents that are down when they are not connected, seen before or not: by
            `name`, or by `name:port` where several share a name.
        remember_for: How long any other agent counts as down after it was last connected, over
            restarts, too.
        run_linger: How long a run is shown after its end.
    """

    TASKS: ClassVar[Mapping[str, float | None]] = {"agents": 60.0}
    FILTERS: ClassVar[Collection[str]] = ("agents", "runs")

    provider: Literal["eggplant"] = "eggplant"
    name: Name = "eggplant"
    auth: EggplantAuth = Field(default_factory=EggplantAuth)
    expected_agents: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    remember_for: Duration = 86_400.0
    run_linger: Duration = 3_600.0

    def mistakes(self) -> Iterator[Mistake]:
        """Yield what is wrong although each field is right by itself."""
        yield from super().mistakes()
        yield from self._endpoint_mistakes()
        names = (name_and_port(agent)[0] for agent in self.expected_agents)
        yield from expected_mistakes(self, names)

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret of the source."""
        yield from super().secrets()
        yield self.auth.secret

    def _endpoint_mistakes(self) -> Iterator[Mistake]:
        for name in ("token_url", "login_url"):
            given = getattr(self.auth, name)
            endpoint = "" if given is None else self.endpoint(given)
            if (urlsplit(self.url).scheme, urlsplit(endpoint).scheme) == ("https", "http"):
                text = "would send the credentials unencrypted; use https, as url does"
                yield Mistake(("auth", name), text, ("auth", "url"))
            elif name == "login_url" and is_public_api(endpoint):
                text = "is for clients, not users; give token_url, client_id and client_secret_file"
                yield Mistake(("auth", name), text, ("auth", "url"))

    def endpoint(self, path: str) -> str:
        """Return a path, or a URL, as a URL: paths count from `url`, with a slash from its host."""
        return urljoin(f"{self.url.rstrip('/')}/", path)


def name_and_port(agent: str) -> tuple[str, str]:
    """Return name and port of an expected agent; the port is empty where none is given.

    An agent is named after its machine's address if nobody names it, and an IPv6 address has no
    port, whatever its end looks like.
    """
    name, _, port = agent.rpartition(":")
    if not name or _PORT.fullmatch(port) is None or _is_address(agent):
        return agent, ""
    return name, port


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_public_api(url: str) -> bool:
    """Return whether a URL is the login of the public API, which knows clients but no users."""
    return _PUBLIC_API.search(urlsplit(url).path) is not None
