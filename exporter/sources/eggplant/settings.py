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
        # Raised from `None`, because the cause would quote the text.
        raise WrongValueError(
            "is neither a path such as /auth nor an http or https URL without user and query"
        ) from None
    return text


#: A URL, or a path relative to the source's URL.
Endpoint = Annotated[str, Field(min_length=1), AfterValidator(_check_endpoint)]


class EggplantAuth(Section):
    """The origin of the access token: exactly one of three schemes.

    The schemes are a configured token (`access_token`), the login of a client (`token_url`) and the
    login of a user (`login_url`).

    Attributes:
        access_token: The access token.
        access_token_file: A file that holds the access token.
        token_url: The URL for the login of a client; a path is relative to `url`.
        client_id: The client's id.
        client_secret: The client's secret.
        client_secret_file: A file that holds the client's secret.
        login_url: The URL for the login of a user; a path is relative to `url`.
        username: The user's name.
        password: The user's password.
        password_file: A file that holds the user's password.
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
        """The schemes with a configured field; each lists all its fields, the secret last."""
        every = (
            ("access_token",),
            ("token_url", "client_id", "client_secret"),
            ("login_url", "username", "password"),
        )
        return tuple(scheme for scheme in every if not self._given.isdisjoint(scheme))

    @cached_property
    def _given(self) -> frozenset[str]:
        """The configured fields; a secret counts as one field, given as value or file."""
        return frozenset(
            name.removesuffix("_file")
            for name in self.model_fields_set
            if getattr(self, name) is not None
        )

    @cached_property
    def secret(self) -> Secret:
        """The secret of the configured scheme."""
        name = self.schemes[0][-1]
        return Secret(getattr(self, name), getattr(self, f"{name}_file"))

    def mistakes(self) -> Iterator[Mistake]:
        """Yield mistakes in the choice and the fields of the scheme."""
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
    """The settings of one server.

    One call covers all agents, so calls are never concurrent, and `concurrency` has no effect.

    Attributes:
        url: The server's URL, without `/api/sut/status`.
        auth: The access token or the login.
        expected_agents: Agents that count as down whenever they are not connected, even if they
            never were: as `name`, or as `name:port` if several agents share a name.
        remember_for: How long any other agent counts as down after it was last connected,
            including restarts of the exporter.
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
        """Yield mistakes in combinations of fields that are valid on their own."""
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
        """Return an endpoint as a URL.

        A path is relative to `url`; a path with a leading slash is relative to the host of `url`.
        """
        return urljoin(f"{self.url.rstrip('/')}/", path)


def name_and_port(agent: str) -> tuple[str, str]:
    """Return name and port of an expected agent; the port is empty if none is given.

    An agent without a configured name is named after its machine's address. The last part of an
    IPv6 address is not taken for a port.
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
    """Return whether a URL is the login of the public API, which accepts clients but not users."""
    return _PUBLIC_API.search(urlsplit(url).path) is not None
