"""The network under the client: TLS, connections, proxies.

An aiohttp session sends httpx' requests. If a proxy applies, httpx' own transport sends them,
because aiohttp supports TLS within TLS only with some event loops.
"""

from __future__ import annotations

import functools
import math
import ssl
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
import httpx
from cryptography import x509

from exporter.config import pem
from exporter.config.files import FileError
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from aiohttp.abc import AbstractResolver
    from aiohttp.client_middlewares import ClientHandlerType
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from exporter.http.exchange import HttpOptions


#: Idle connections are closed after this time, before a vendor's server closes them, which takes 20
#: seconds or more.
KEEP_ALIVE_SECONDS = 15.0


class NetworkTransport(httpx.AsyncBaseTransport):
    """The network, through a proxy if one applies.

    Args:
        options: The limits, TLS files and proxy.
        certificate_ends: Called with the expiry of the server's certificate, in Unix seconds, at
            first and after each change. With several servers, the earliest expiry counts.
        environment: The proxies by scheme, as `getproxies_environment` returns them, with the
            exceptions as `no`.
        resolver: Resolves host names instead of the system.
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
        variables = dict(getproxies_environment() if environment is None else environment)
        # Cached because there can be many exceptions, but few hosts. A cached method would create a
        # reference cycle, which keeps a closed transport until the next garbage collection.
        self._environment_proxy = functools.lru_cache(maxsize=64)(
            functools.partial(_environment_proxy, variables)
        )
        if options.ca_file is not None or options.client_cert_file is not None:
            _ = self._context  # raises now if a file is wrong, before a call is sent
        self._certificates = _Certificates(certificate_ends or (lambda _: None))
        self._resolver = resolver
        # Created at the first call, because it needs a running event loop.
        self._session: aiohttp.ClientSession | None = None
        self._proxied: dict[str, httpx.AsyncHTTPTransport] = {}

    @functools.cached_property
    def _context(self) -> ssl.SSLContext:
        # Created only for TLS, because reading the system's authorities takes 25 ms.
        return ssl_context(self._options)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, directly or through a proxy.

        Returns:
            The response, with its body as a stream.
        """
        proxy = self._proxy(request.url.scheme, request.url.host, request.url.port)
        if not proxy:
            return await self._direct(request)
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
        # With a plain HTTP request, the TLS object would belong to the proxy's connection.
        if stream is not None and request.url.scheme == "https":
            self._certificates.note(request.url.host, stream.get_extra_info("ssl_object"))
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
        for transport in self._proxied.values():
            await transport.aclose()

    def _proxy(self, scheme: str, host: str, port: int | None) -> str:
        if self._options.proxy_url is not None:
            return self._options.proxy_url.reveal()
        return self._environment_proxy(scheme, host if port is None else f"{host}:{port}")

    async def _direct(self, request: httpx.Request) -> httpx.Response:
        if self._session is None:
            self._session = self._new_session()
        limits = request.extensions["timeout"]
        response = await self._session.request(
            request.method,
            str(request.url),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            data=request.content or None,
            allow_redirects=False,
            ssl=self._context if request.url.scheme == "https" else True,
            timeout=_timeout(limits["connect"], limits["read"]),
            # aiohttp does not repeat a POST by itself.
            middlewares=() if request.method == "POST" else (_no_hidden_retry,),
        )
        return httpx.Response(
            response.status, headers=list(response.raw_headers), stream=_Body(response)
        )

    def _new_session(self) -> aiohttp.ClientSession:
        connector = _Connector(
            certificates=self._certificates,
            limit=self._options.connections,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            resolver=self._resolver,
        )
        return aiohttp.ClientSession(
            connector=connector,
            # Do not keep cookies.
            cookie_jar=aiohttp.DummyCookieJar(),
            # aiohttp's decompression has no limit such as `max_reply_bytes`.
            auto_decompress=False,
        )


def _environment_proxy(variables: Mapping[str, str], scheme: str, host: str) -> str:
    if proxy_bypass(host, variables):
        return ""
    proxy = variables.get(scheme) or variables.get("all") or ""
    # The scheme is optional in the variables.
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


@functools.lru_cache(maxsize=64)
def _timeout(connect: float, read: float) -> aiohttp.ClientTimeout:
    # `connect` includes name resolution. Without `ceil_threshold`, aiohttp rounds it up.
    return aiohttp.ClientTimeout(connect=connect, sock_read=read, ceil_threshold=math.inf)


class _Body(httpx.AsyncByteStream):
    """The body of a reply, as a stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.content.iter_any()

    async def aclose(self) -> None:
        self._response.release()
        await self._response.wait_for_close()


class _Certificates:
    """The servers' certificates, of which the earliest expiry is reported.

    They are read from the connections of calls, so that they need no extra connection.
    """

    def __init__(self, ends: Callable[[float], object]) -> None:
        self._ends = ends
        #: The newest certificate and its expiry, by host.
        self._seen: dict[str, tuple[bytes, float]] = {}

    def note(self, host: str, tls: ssl.SSLObject | None) -> None:
        """Note the certificate of a connection, if it is new."""
        # The binary form, because without verification OpenSSL does not parse the certificate.
        presented = tls.getpeercert(binary_form=True) if tls is not None else None
        if presented is None or presented == self._seen.get(host, (b"", 0.0))[0]:
            return
        try:
            end = x509.load_der_x509_certificate(presented).not_valid_after_utc.timestamp()
        except Exception:  # noqa: BLE001 - a certificate that cannot be parsed fails no call
            end = math.inf
        self._seen[host] = presented, end
        first = min(end for _, end in self._seen.values())
        if first < math.inf:
            self._ends(first)


class _Connector(aiohttp.TCPConnector):
    """A connector that notes the servers' certificates."""

    def __init__(self, *, certificates: _Certificates, **options: Any) -> None:
        super().__init__(**options)
        self._certificates = certificates

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if connection.transport is not None:
            tls = connection.transport.get_extra_info("ssl_object")
            self._certificates.note(req.url.host or "", tls)
        return connection


class _DroppedError(aiohttp.ClientConnectionError):
    """The connection ended before the reply."""


async def _no_hidden_retry(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    # When the server has dropped a kept connection, aiohttp repeats a GET by itself. The budget
    # would not count that repetition, so aiohttp gets an error for which it does not repeat.
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _DroppedError from error


def ssl_context(options: HttpOptions) -> ssl.SSLContext:
    """Return the TLS context of a source.

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
