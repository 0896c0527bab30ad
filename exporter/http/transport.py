"""The network under the client: TLS, connections, proxies.

The transport under httpx is aiohttp's. Where a proxy applies it is httpx's own: httpx-aiohttp 0.2
hands a proxy's credentials on in a way that aiohttp has deprecated, and aiohttp's TLS through TLS
depends on the event loop.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
import httpx
from cryptography import x509
from httpx_aiohttp import AiohttpTransport

from exporter.config import pem
from exporter.config.files import FileError
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.abc import AbstractResolver
    from aiohttp.client_middlewares import ClientHandlerType
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from exporter.http.exchange import HttpOptions


#: Vendors' servers drop idle connections after 20 seconds and more; we have to be first.
KEEP_ALIVE_SECONDS = 15.0


class NetworkTransport(httpx.AsyncBaseTransport):
    """The network, by way of a proxy where one applies.

    Args:
        certificate_ends: Told when the certificate of the server ends, epoch seconds, at first and
            when that changes; of several servers the earliest.
        environment: What `getproxies_environment` returns: proxies by scheme, exceptions as `no`.
        resolver: Finds addresses instead of the system.
    """

    def __init__(
        self,
        options: HttpOptions,
        *,
        certificate_ends: Callable[[float], object] | None = None,
        environment: Mapping[str, str] | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._options = options
        self._environment = dict(getproxies_environment() if environment is None else environment)
        self._context = ssl_context(options)
        self._certificates = _Certificates(certificate_ends or (lambda _: None))
        self._direct = AiohttpTransport(
            verify=self._context, client=lambda: self._session(resolver)
        )
        self._proxied: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request the way it has to go."""
        proxy = self._proxy(request.url)
        if not proxy:
            return await self._direct.handle_async_request(request)
        request.extensions["proxy"] = httpx.URL(proxy)
        if proxy not in self._proxied:
            tls = self._context if proxy.startswith("https:") else None
            self._proxied[proxy] = httpx.AsyncHTTPTransport(
                verify=self._context,
                proxy=httpx.Proxy(proxy, ssl_context=tls),
                limits=httpx.Limits(
                    max_connections=self._options.connections, keepalive_expiry=KEEP_ALIVE_SECONDS
                ),
            )
        response = await self._proxied[proxy].handle_async_request(request)
        stream = response.extensions.get("network_stream")
        # The TLS of a call over plain HTTP is that of the proxy.
        if stream is not None and request.url.scheme == "https":
            self._certificates.look(request.url.host, stream.get_extra_info("ssl_object"))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._direct.aclose()
        for transport in self._proxied.values():
            await transport.aclose()

    def _proxy(self, url: httpx.URL) -> str:
        if self._options.proxy_url is not None:
            return self._options.proxy_url.reveal()
        host = url.host if url.port is None else f"{url.host}:{url.port}"
        if proxy_bypass(host, self._environment):
            return ""
        proxy = self._environment.get(url.scheme) or self._environment.get("all") or ""
        # The variables may leave the scheme out.
        return proxy if "://" in proxy or not proxy else f"http://{proxy}"

    def _session(self, resolver: AbstractResolver | None) -> aiohttp.ClientSession:
        connector = _Connector(
            certificates=self._certificates,
            ssl=self._context,
            limit=self._options.connections,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            resolver=resolver,
        )
        return aiohttp.ClientSession(
            connector=connector,
            # httpx-aiohttp would let aiohttp keep vendors' cookies and send them back.
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_no_hidden_retry,),
        )


class _Certificates:
    """When the certificates end that servers present.

    They are looked at on the connections of the calls, so that none is made for it.
    """

    def __init__(self, ends: Callable[[float], object]) -> None:
        self._ends = ends
        #: By host, the newest certificate with its end.
        self._seen: dict[str, tuple[bytes, float]] = {}

    def look(self, host: str, tls: ssl.SSLObject | None) -> None:
        """Note the certificate of a connection; one that is known costs only a comparison."""
        # Without verification OpenSSL gives the bytes and does not take them apart.
        presented = tls.getpeercert(binary_form=True) if tls is not None else None
        if presented is None or presented == self._seen.get(host, (b"", 0.0))[0]:
            return
        try:
            end = x509.load_der_x509_certificate(presented).not_valid_after_utc.timestamp()
        except Exception:  # noqa: BLE001 - what cannot be decoded must not fail the call
            end = math.inf
        self._seen[host] = presented, end
        first = min(end for _, end in self._seen.values())
        if first < math.inf:
            self._ends(first)


class _Connector(aiohttp.TCPConnector):
    """Keeps the connect time-out to the letter, and looks at the servers' certificates.

    aiohttp rounds what is above 5 seconds up, and leaves the search for the address out.
    """

    def __init__(self, *, certificates: _Certificates, **options: Any) -> None:
        super().__init__(**options)
        self._certificates = certificates

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        async with asyncio.timeout(timeout.sock_connect):
            connection = await super().connect(req, traces, timeout)
        if connection.transport is not None:
            tls = connection.transport.get_extra_info("ssl_object")
            self._certificates.look(req.url.host or "", tls)
        return connection


class _DroppedError(aiohttp.ClientConnectionError):
    """The connection ended before there was a reply."""


async def _no_hidden_retry(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp sends a GET again by itself when a kept connection was dropped. That try would miss
    # in the budget, so it gets an error that it does not know.
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _DroppedError from error


def ssl_context(options: HttpOptions) -> ssl.SSLContext:
    """Make the TLS settings of a source.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    path = options.ca_file
    try:
        context = pem.trusting(path)
        if options.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        path = options.client_cert_file
        if path is not None:
            pem.load_pair(context, path, options.client_key_file)
    except (FileError, OSError):
        pass
    else:
        return context
    raise ConfigurationError([f"the file {path} or its key cannot be used for TLS"])
