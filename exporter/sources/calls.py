"""The HTTP client of a source, and the errors that may mean refused credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.errors import CallError, PollError, Reason, SuspectError
from exporter.http import Account, HttpClient, HttpOptions


if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.sources.base import SourceContext
    from exporter.sources.settings import SourceSettings


_CONNECT_TIMEOUT_SECONDS = 5.0


def http_client(
    settings: SourceSettings, context: SourceContext, fingerprint: Callable[[], str]
) -> HttpClient:
    """Return a new HTTP client for the calls of a source.

    Args:
        settings: The source's settings.
        context: Everything else the source needs.
        fingerprint: Returns a hash of the current credentials.
    """
    account = None
    if context.state is not None:
        account = Account(
            state=context.state,
            url=settings.url,
            fingerprint=fingerprint,
            members=context.members,
        )
    return HttpClient(
        http_options(settings),
        clock=context.clock,
        random=context.random,
        certificate_ends=context.telemetry.certificate_ends,
        account=account,
    )


def http_options(settings: SourceSettings) -> HttpOptions:
    """Return the limits and the TLS material for a source's calls."""
    timeout = settings.timeout
    return HttpOptions(
        connect_timeout=min(settings.connect_timeout or _CONNECT_TIMEOUT_SECONDS, timeout),
        read_timeout=min(settings.read_timeout or timeout, timeout),
        total_timeout=timeout,
        max_reply_bytes=settings.max_reply_bytes,
        retries=settings.retries,
        requests_per_minute=settings.requests_per_minute,
        connections=settings.concurrency,
        ca_file=settings.ca_file,
        insecure_skip_verify=settings.insecure_skip_verify,
        client_cert_file=settings.client_cert_file,
        client_key_file=settings.client_key_file,
        proxy_url=settings.proxy,
    )


def suspected(error: CallError) -> PollError:
    """Return a `SuspectError` if an error's reason may mean refused credentials, else the error."""
    if error.reason in (Reason.AUTH, Reason.ACCESS_DENIED):
        return SuspectError(error)
    return error
