"""HTTP requests of a command to a running daemon, which need no configuration or secret."""

from __future__ import annotations

import argparse
import re
from http import HTTPStatus
from random import Random
from typing import TYPE_CHECKING

from exporter import __version__
from exporter.clock import SYSTEM_CLOCK
from exporter.config.types import WrongValueError, check_url
from exporter.errors import CallError, ExporterError, Reason
from exporter.settings import flags


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from exporter.http import Reply
    from exporter.overview.document import Told


#: Time limit of a request to a daemon.
TIMEOUT_SECONDS = 10.0

#: Maximum size of a reply: several times the size of the status of 10,000 agents.
MAX_REPLY_BYTES = 128 << 20

#: The form of the daemon's error texts, `400 Bad Request: REASON.`
_SENTENCE = re.compile(r"(\d{3}) [A-Z][A-Za-z ]*: (.{1,500})\.\n")

#: Remedies by the status of the reply.
_REMEDIES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "it requires a password, which this command cannot send; use for"
    " instance `curl --user=NAME`",
    HTTPStatus.NOT_FOUND: "it has no such page; check that this is the daemon's URL with its"
    f" prefix, and that the daemon has version {__version__}",
}

#: Remedies by the reason of a failed call.
_WITHOUT_ANSWER: Mapping[Reason, str] = {
    Reason.DNS: "correct the URL",
    Reason.CONNECT: "is the daemon running there? With TLS its URL begins with https://",
    Reason.TIMEOUT: "is the daemon running there?",
    Reason.TLS: "if the daemon uses your own certificate authority, name its file in SSL_CERT_FILE;"
    " without TLS the URL begins with http://",
    Reason.DECODE: "this is not the daemon's answer; correct the URL, which begins with https:// if"
    " the daemon uses TLS",
}


class NotAskedError(ExporterError):
    """A request to the daemon failed, or its reply is no answer.

    Attributes:
        status: HTTP status of the reply, 0 without a reply.
        sentence: The daemon's own reason; empty if it gives none.
    """

    def __init__(self, message: str, *, status: int = 0, sentence: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.sentence = sentence

    @property
    def lasting(self) -> bool:
        """True if a retry cannot help, for example because the daemon requires a password."""
        passing = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        return 300 <= self.status < 500 and self.status not in passing


def add_url(parser: argparse.ArgumentParser) -> None:
    """Declare `--url`, which names a daemon to ask instead of the vendors."""
    parser.add_argument(
        "--url",
        type=daemon_url,
        metavar="URL",
        help="ask the daemon at this URL; the command then needs no configuration or secret and"
        " makes no call to a vendor",
    )


def daemon_url(text: str) -> str:
    """Return the URL of a daemon, as a type for argparse.

    Raises:
        argparse.ArgumentTypeError: The text is no URL, or it contains credentials. The error text
            does not quote them.
    """
    try:
        return check_url(text).rstrip("/")
    except WrongValueError as error:
        what = str(error).partition(";")[0]
        raise argparse.ArgumentTypeError(
            f"{what}; give only the URL of a running daemon, such as http://localhost:10871"
        ) from None


def beside_url(arguments: argparse.Namespace) -> str:
    """Return the error text for polling flags that cannot be combined with `--url`; empty if none.

    Environment variables of these flags are ignored: in a container they are the daemon's.
    """
    given = [f"--{flag.name}" for flag in flags.COMMON if flag.value(arguments, {}) is not None]
    if not given:
        return ""
    names = ", ".join(given)
    return f"--url asks a daemon, which has its own configuration; leave out {names}"


async def get(
    url: str,
    page: str,
    *,
    accept: str = "application/json",
    answers: Collection[int] = (HTTPStatus.OK,),
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Reply:
    """Return a daemon's reply to a GET request.

    Args:
        url: The daemon's URL, as `daemon_url` returns it.
        page: The path below the URL, with its query.
        accept: The wanted media type.
        answers: Statuses that count as an answer.
        timeout_seconds: Time limit of the whole request.

    Raises:
        NotAskedError: There is no reply, or its status is not among `answers`.
    """
    # Imported here, since the HTTP libraries would more than double the run time of commands that
    # rarely need them, such as `check-config`.
    from exporter.http import Call, HttpClient, HttpOptions  # noqa: PLC0415 - see above

    options = HttpOptions(
        connect_timeout=TIMEOUT_SECONDS,
        read_timeout=timeout_seconds,
        total_timeout=timeout_seconds,
        max_reply_bytes=MAX_REPLY_BYTES,
        retries=0,
    )
    call = Call(operation=page, method="GET", url=f"{url}{page}", headers={"accept": accept})
    random = Random()  # noqa: S311 - nothing is retried
    client = HttpClient(options, clock=SYSTEM_CLOCK, random=random)
    try:
        reply = await client.send(call)
    except CallError as error:
        # Replace the remedy, which is about vendors.
        what = str(error).removeprefix(f"{page}: ").partition(";")[0]
        remedy = _WITHOUT_ANSWER[error.reason]
        raise NotAskedError(f"cannot read {url}{page}: {what}; {remedy}") from None
    finally:
        await client.aclose()
    if reply.status not in answers:
        raise refused(f"{url}{page}", reply)
    return reply


async def fleet(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> tuple[Told, float | None]:
    """Read the status of a daemon's whole fleet.

    Args:
        url: The daemon's URL, as `daemon_url` returns it.
        timeout_seconds: Time limit of the whole request.

    Returns:
        The status, and the time of the reply by the daemon's clock in Unix seconds, `None` if the
        reply has no date.

    Raises:
        NotAskedError: There is no answer, or it is not from a daemon of this version.
    """
    from exporter.overview.document import told  # noqa: PLC0415 - as the HTTP client

    reply = await get(url, "/api/v1/status", timeout_seconds=timeout_seconds)
    try:
        return told(reply.body), reply.date_seconds
    except ValueError:
        raise not_a_daemon(url) from None


def not_a_daemon(url: str) -> NotAskedError:
    """Return the error for a reply that is not from a daemon of this version."""
    return NotAskedError(
        f"{url} is no loadfleet-exporter of version {__version__}; correct the URL, or use the"
        " command of the daemon's version"
    )


def refused(page: str, reply: Reply) -> NotAskedError:
    """Return the error for a reply with an unwanted status."""
    match = _SENTENCE.fullmatch(reply.body[:1000].decode(errors="replace"))
    own = match is not None and int(match[1]) == reply.status and match[2].isprintable()
    sentence = match[2] if match and own else ""
    if 300 <= reply.status < 400:
        why = "it answers with a redirect; give the URL to which it redirects"
    else:
        why = _REMEDIES.get(reply.status) or f"it answers with {reply.status}"
    if sentence:
        why = f"it answers with {reply.status}: {sentence}"
    return NotAskedError(f"cannot read {page}: {why}", status=reply.status, sentence=sentence)
