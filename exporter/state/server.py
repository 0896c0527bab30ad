"""The connection to a Redis or Valkey server: pool, checks of the server, and error messages."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from typing import TYPE_CHECKING, Any

import redis.asyncio as redis
from redis import exceptions
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from exporter.config.address import parse_address
from exporter.errors import CallError, StateError


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter.clock import Clock
    from exporter.state.settings import StateSettings


#: Time limit of a connection attempt, and of the answer to a command.
TIMEOUT_SECONDS = 2.0

#: Time limit of both together, including name resolution, TLS and login.
_TOTAL_SECONDS = 2 * TIMEOUT_SECONDS

#: Time limit of a Sentinel, short enough to ask another Sentinel within the total.
_SENTINEL_SECONDS = 1.0

#: Interval between two checks of the server, whose settings can change at any time.
LOOK_SECONDS = 60.0

#: The oldest usable version: users with own rights (ACLs) came with Redis 6.
_OLDEST = 6

#: Messages with a remedy, by the first word of the server's error or a word of this module.
_REMEDIES = {
    "WRONGPASS": "it refuses the login; correct state.username and state.password_file",
    "NOPERM": "the user lacks rights; grant those that the reference lists under Redis or Valkey",
    "OOM": "it is full; raise its maxmemory, or delete other data in it",
    "MISCONF": "it cannot save to its disk and accepts no writes; check the disk",
    "READONLY": "it is a replica and accepts no writes; name the primary in state.url",
    "LOADING": "it is still loading its data; wait until it has",
    "WRONGTYPE": "another program has written a key of the exporter; name another database in"
    " state.url",
    "MOVED": "it is a cluster; name a single primary in state.url",
    "BUSY": "a long script keeps it busy; end that script",
    "timeout": f"it does not answer within {TIMEOUT_SECONDS:g} s; check the server and the network",
    "sentinels": "no Sentinel knows a primary; check the Sentinels, or correct state.sentinels and"
    " state.url",
    "lost": "the connection was lost; check the server and the network",
    "refused": "it refuses a command; use Redis 6 or newer, or Valkey, without renamed commands",
}
_WORDS = re.compile(rf"\b({'|'.join(word for word in _REMEDIES if word.isupper())})\b")

#: The keys of `_REMEDIES` by the class of an error, subclasses first. The client has removed the
#: first word from these errors.
_KINDS: dict[type[Exception], str] = {
    MasterNotFoundError: "sentinels",
    exceptions.AuthenticationError: "WRONGPASS",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MovedError: "MOVED",
    exceptions.ResponseError: "refused",
    exceptions.TimeoutError: "timeout",
    TimeoutError: "timeout",
    Exception: "lost",
}


class _UnfitError(exceptions.RedisError):
    """The server cannot be used; the text says why."""


class Server:
    """The server that the settings name; connects at the first use, in one event loop.

    Attributes:
        place: The server's name in messages.
        connections: The number of connections made so far.
        info: The server's newest answer to INFO.
    """

    def __init__(self, settings: StateSettings, *, clock: Clock) -> None:
        """Prepare the connections; none is made yet.

        Args:
            settings: The address of the server and the login.
            clock: The source of time.
        """
        self.place = settings.server
        self.connections = 0
        self.info: Mapping[str, Any] = {}
        self._clock = clock
        self._checked_at = 0.0
        tls: dict[str, Any] = {}
        if settings.tls:
            tls = {
                "ssl_ca_certs": str(settings.ca_file) if settings.ca_file else None,
                "ssl_certfile": str(settings.client_cert_file or "") or None,
                "ssl_keyfile": str(settings.client_key_file or "") or None,
                "ssl_check_hostname": True,
            }
        common = {
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
            "socket_keepalive": True,
            "protocol": 2,
            **tls,
        }
        options: dict[str, Any] = {
            "db": settings.database,
            "redis_connect_func": self._connected,
            "retry": Retry(NoBackoff(), 0),
            **common,
        }
        if settings.secret is not None:
            options["credential_provider"] = _Credentials(settings)
        self._pool, self._sentinels = _pool(settings, common, options)
        self._client = redis.Redis(connection_pool=self._pool)

    @property
    def version(self) -> str:
        """The name and version of the server's software, as text."""
        valkey = self.info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {self.info.get('redis_version')}"

    async def run(self, script: str, keys: Sequence[str], *arguments: bytes | str | int) -> Any:
        """Run a script.

        Returns:
            The script's answer.

        Raises:
            StateError: The server cannot be used; the script may have run, once or twice.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        cancelled = task.cancelling()
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                before = self.connections
                try:
                    return await self._once(script, len(keys), *keys, *arguments)
                except exceptions.ConnectionError as error:
                    # The server may have closed an idle connection.
                    kept = before and before == self.connections
                    if type(error) is not exceptions.ConnectionError or not kept:
                        raise
                return await self._once(script, len(keys), *keys, *arguments)
        except (exceptions.RedisError, CallError, OSError) as error:
            # Without the cause: a server's error quotes refused input, which may be a password.
            raise StateError(f"{self.place}: {_reason(error)}") from None
        finally:
            # The client sends within `asyncio.wait_for`, which up to Python 3.11 loses a
            # cancellation if the bytes have already been sent.
            if task.cancelling() > cancelled:
                raise asyncio.CancelledError

    async def _once(self, script: str, keys: int, *rest: bytes | str | int) -> Any:
        checked = self._clock.boottime() - self._checked_at < LOOK_SECONDS
        if self.connections and not checked:
            self._judge(await self._client.info())
        return await self._client.eval(script, keys, *rest)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.disconnect()
        for sentinel in self._sentinels:
            await sentinel.aclose()

    async def _connected(self, connection: Connection) -> None:
        """Log in on a new connection and check the server."""
        try:
            await connection.on_connect()
            await connection.send_command("INFO")
            text = (await connection.read_response()).decode(errors="replace")
            lines = (line.partition(":") for line in text.splitlines())
            self._judge({name: value for name, _, value in lines})
        except BaseException:
            # Otherwise the pool would keep the connection and use it without login and check.
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
                f"it evicts keys of the state ({policy}); set maxmemory-policy to noeviction"
            )
        self.info = info
        self._checked_at = self._clock.boottime()


def _pool(
    settings: StateSettings, common: dict[str, Any], options: dict[str, Any]
) -> tuple[ConnectionPool, list[redis.Redis]]:
    """Create the pool of connections to the server, and the clients of its Sentinels."""
    if not settings.sentinels:
        address = settings.address
        kind = SSLConnection if settings.tls else Connection
        options = {"connection_class": kind, **options}
        return ConnectionPool(host=address.host, port=address.port, **options), []
    limits = {"socket_timeout": _SENTINEL_SECONDS, "socket_connect_timeout": _SENTINEL_SECONDS}
    asked = Sentinel(  # type: ignore[no-untyped-call]  # the client has no types here
        [(address.host, address.port) for address in map(parse_address, settings.sentinels)],
        sentinel_kwargs={**common, **limits, "ssl": settings.tls, "retry": Retry(NoBackoff(), 0)},
    )
    kind = SentinelManagedSSLConnection if settings.tls else SentinelManagedConnection
    options = {"connection_class": kind, **options}
    pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]  # likewise
        settings.service, asked, **options
    )
    return pool, asked.sentinels


class _Credentials(CredentialProvider):
    """User and password, read again for every connection, because the password may change."""

    def __init__(self, settings: StateSettings) -> None:
        self._settings = settings

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        secret = self._settings.secret
        assert secret is not None  # noqa: S101 - created only with a secret
        secret.refresh()
        username, password = self._settings.username, secret.reveal()
        return (username, password) if username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def _reason(error: Exception) -> str:
    """Return why the server cannot be used, without quoting the server."""
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
