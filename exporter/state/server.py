"""A Redis or Valkey server: a few connections to it, what it has to be, and why it is not used."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Any

import redis.asyncio as redis
from redis import exceptions
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from exporter.errors import CallError, StateError


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter.clock import Clock
    from exporter.state.settings import StateSettings


#: How long a connection may take to be made, and any command to be answered.
TIMEOUT_SECONDS = 2.0

#: How often the server is looked at again, since its settings can be changed at any time.
LOOK_SECONDS = 60.0

#: What Redis 5 and older do not have is relied on: users with rights of their own.
_OLDEST = 6

#: By what the server's error says of itself, and by what ours are.
_REMEDIES = {
    "WRONGPASS": "it refuses the login; correct state.username and state.password_file",
    "NOPERM": "the user may not do what is needed; give it the rights that the documents name",
    "OOM": "it is full; raise its maxmemory, or delete what else is in it",
    "MISCONF": "it cannot save to its disk, and takes no writes; see to the disk",
    "READONLY": "it is a replica, which takes no writes; name the primary in state.url",
    "LOADING": "it is still loading its data; wait until it has",
    "WRONGTYPE": "a key of ours was written by somebody else; use another database in state.url",
    "MOVED": "it is a cluster; name a single primary in state.url",
    "BUSY": "somebody's script keeps it busy; end that one",
    "timeout": f"it has not answered for {TIMEOUT_SECONDS:g} s; see to it, or to the way there",
    "lost": "the connection was lost; see to the server, or to the way there",
    "refused": "it refuses a command; use Redis 6 or newer, or Valkey, without renamed commands",
}
_WORDS = re.compile(rf"\b({'|'.join(word for word in _REMEDIES if word.isupper())})\b")

#: By the class of an error, the special ones first: the client has taken their first words away.
_KINDS: dict[type[Exception], str] = {
    exceptions.AuthenticationError: "WRONGPASS",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MovedError: "MOVED",
    exceptions.ResponseError: "refused",
    exceptions.TimeoutError: "timeout",
    Exception: "lost",
}


class _UnfitError(exceptions.RedisError):
    """The server is none that can be used; the text says why."""


class Server:
    """The server that the settings name; connected to at the first use, in one event loop.

    Attributes:
        place: Host and port, for messages.
        connections: How many were made.
        info: What the server said of itself last.
    """

    def __init__(self, settings: StateSettings, *, clock: Clock) -> None:
        """Prepare the connections; none is made yet.

        Args:
            settings: Which server, and as whom.
            clock: Where time comes from.
        """
        address = settings.address
        self.place = str(address)
        self.connections = 0
        self.info: Mapping[str, Any] = {}
        self._clock = clock
        self._looked_at = 0.0
        options: dict[str, Any] = {}
        if settings.tls:
            options = {
                "connection_class": SSLConnection,
                "ssl_ca_certs": str(settings.ca_file) if settings.ca_file else None,
                "ssl_certfile": str(settings.client_cert_file or "") or None,
                "ssl_keyfile": str(settings.client_key_file or "") or None,
                "ssl_check_hostname": True,
            }
        if settings.secret is not None:
            options["credential_provider"] = _Credentials(settings)
        self._pool = ConnectionPool(
            host=address.host,
            port=address.port,
            db=settings.database,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._connected,
            protocol=2,
            **options,
        )
        self._client = redis.Redis(connection_pool=self._pool)

    @property
    def version(self) -> str:
        """Which server it is, for people."""
        valkey = self.info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {self.info.get('redis_version')}"

    async def run(self, script: str, keys: Sequence[str], *arguments: bytes | str | int) -> Any:
        """Run a script.

        Returns:
            Its answer.

        Raises:
            StateError: The server cannot be used; whether the script has run is not known.
        """
        for last in (False, True):
            before = self.connections
            try:
                if before and self._clock.boottime() - self._looked_at >= LOOK_SECONDS:
                    self._judge(await self._client.info())
                return await self._client.eval(script, len(keys), *keys, *arguments)
            except (exceptions.RedisError, CallError) as error:
                # The server may have closed a connection that was kept; a script may run twice.
                kept = type(error) is exceptions.ConnectionError and before == self.connections
                if last or not before or not kept:
                    # Without the cause: a server quotes what it refuses, be it a password.
                    raise StateError(f"{self.place}: {_reason(error)}") from None
        raise AssertionError  # the last turn returns or raises

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.disconnect()

    async def _connected(self, connection: Connection) -> None:
        """Log in on a new connection and look at who has answered."""
        try:
            await connection.on_connect()
            await connection.send_command("INFO")
            text = (await connection.read_response()).decode(errors="replace")
            lines = (line.partition(":") for line in text.splitlines())
            self._judge({name: value for name, _, value in lines})
        except BaseException:
            # Otherwise it would be kept, and be used without all this the next time.
            await connection.disconnect(nowait=True)
            raise
        self.connections += 1

    def _judge(self, info: Mapping[str, Any]) -> None:
        version, role = str(info.get("redis_version", "")), info.get("role")
        policy = info.get("maxmemory_policy", "noeviction")
        major = version.partition(".")[0]
        if not major.isdigit() or int(major) < _OLDEST:
            raise _UnfitError(f"it is of version {version or 'unknown'}; use Redis 6 or Valkey")
        if role not in {"master", "primary"}:
            raise _UnfitError(_REMEDIES["READONLY"])
        if policy != "noeviction":
            raise _UnfitError(
                f"it evicts what is needed ({policy}); set maxmemory-policy to noeviction"
            )
        self.info = info
        self._looked_at = self._clock.boottime()


class _Credentials(CredentialProvider):
    """User and password, read for every connection, so that a rotated one is found."""

    def __init__(self, settings: StateSettings) -> None:
        self._settings = settings

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        secret = self._settings.secret
        assert secret is not None  # noqa: S101 - made for one only
        secret.refresh()
        username, password = self._settings.username, secret.reveal()
        return (username, password) if username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def _reason(error: Exception) -> str:
    """Say why the server cannot be used, in our words alone."""
    if isinstance(error, _UnfitError | CallError):
        return str(error)
    cause = error.__context__
    kind = next(kind for each, kind in _KINDS.items() if isinstance(error, each))
    if isinstance(cause, ssl.SSLError):
        why = getattr(cause, "verify_message", "") or getattr(cause, "reason", "")
        return f"TLS fails ({why or 'unknown error'}); check its certificate and state.ca_file"
    if kind == "lost" and isinstance(cause, OSError):
        known = cause.errno is not None and cause.errno > 0
        why = os.strerror(cause.errno or 0) if known else (cause.strerror or "unknown error")
        return f"it cannot be reached ({why}); start it, or correct state.url"
    word = _WORDS.search(str(error)) if kind == "refused" else None
    return _REMEDIES[word[0] if word else kind]
