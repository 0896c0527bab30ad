"""A running daemon, asked by a command: without a configuration, a secret or a call of our own."""

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


#: Of an answer from its first byte to its last.
TIMEOUT_SECONDS = 10.0

#: Several times what the daemon says of 10,000 agents.
MAX_REPLY_BYTES = 128 << 20

#: What the daemon writes as an error; its own reasons follow a colon.
_SENTENCE = re.compile(r"(\d{3}) [A-Z][A-Za-z ]*: (.{1,500})\.\n")

#: By the answer's status.
_REMEDIES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "it asks for a password, which cannot be given here; open it by hand,"
    " for instance with `curl --user=NAME`",
    HTTPStatus.NOT_FOUND: "it has no such page; is this the daemon's URL, with its prefix, and the"
    f" daemon of this version, {__version__}?",
}

#: By what became of a call without an answer.
_WITHOUT_ANSWER: Mapping[Reason, str] = {
    Reason.DNS: "correct the URL",
    Reason.CONNECT: "is the daemon running there? Its URL begins with https:// if it has TLS",
    Reason.TIMEOUT: "is the daemon running there?",
    Reason.TLS: "if its authority is your own, name the file with it in SSL_CERT_FILE; if it has no"
    " TLS, write http://",
    Reason.DECODE: "this is not the daemon's answer; correct the URL, which begins with https:// if"
    " the daemon has TLS",
}


class NotAskedError(ExporterError):
    """The daemon cannot be asked, or has no answer.

    Attributes:
        status: Of its reply, 0 if there is none.
        sentence: Its own reason, empty if it gives none.
    """

    def __init__(self, message: str, *, status: int = 0, sentence: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.sentence = sentence

    @property
    def lasting(self) -> bool:
        """True if asking again will not help, for example because the daemon wants a password."""
        passing = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        return 300 <= self.status < 500 and self.status not in passing


def add_url(parser: argparse.ArgumentParser) -> None:
    """Take the URL of the daemon that is asked instead of the vendors."""
    parser.add_argument(
        "--url",
        type=daemon_url,
        metavar="URL",
        help="ask the daemon at this URL: without a configuration, a secret or a call to a vendor"
        " of this command's own",
    )


def daemon_url(text: str) -> str:
    """Read the URL of a daemon, for argparse.

    Raises:
        argparse.ArgumentTypeError: It is none, or holds credentials; these are not quoted.
    """
    try:
        return check_url(text).rstrip("/")
    except WrongValueError as error:
        what = str(error).partition(";")[0]
        raise argparse.ArgumentTypeError(
            f"{what}; give the URL of a running daemon alone, such as http://localhost:10871"
        ) from None


def beside_url(arguments: argparse.Namespace) -> str:
    """Return what is wrong with flags that are for polling and stand beside `--url`, else nothing.

    Their environment twins are not looked at: in a container they are the daemon's.
    """
    given = [f"--{flag.name}" for flag in flags.COMMON if flag.value(arguments, {}) is not None]
    if not given:
        return ""
    names = ", ".join(given)
    return f"--url asks a daemon, which has a configuration of its own; leave out {names}"


async def get(
    url: str,
    page: str,
    *,
    accept: str = "application/json",
    answers: Collection[int] = (HTTPStatus.OK,),
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Reply:
    """Return what a daemon answers on one of its pages.

    Args:
        url: The daemon's, as `daemon_url` returns it.
        page: The path below, with its query.
        accept: The type that is wanted.
        answers: The statuses of replies that are an answer.
        timeout_seconds: For the whole of it.

    Raises:
        NotAskedError: There is no answer, or it is none of a daemon that has one.
    """
    # The libraries take longer to import than `check-config` for all else, which seldom asks.
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
        # What the clients of vendors would have to do is not what is to be done here.
        what = str(error).removeprefix(f"{page}: ").partition(";")[0]
        remedy = _WITHOUT_ANSWER[error.reason]
        raise NotAskedError(f"cannot read {url}{page}: {what}; {remedy}") from None
    finally:
        await client.aclose()
    if reply.status not in answers:
        raise refused(f"{url}{page}", reply)
    return reply


async def fleet(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> tuple[Told, float | None]:
    """Return what a daemon says of its whole fleet, and when it did.

    Args:
        url: The daemon's, as `daemon_url` returns it.
        timeout_seconds: For the whole of it.

    Returns:
        That, and the time by the daemon's clock, epoch; `None` where it does not say.

    Raises:
        NotAskedError: There is no answer, or it is none of a daemon of this version.
    """
    from exporter.overview.document import told  # noqa: PLC0415 - as the HTTP client

    reply = await get(url, "/api/v1/status", timeout_seconds=timeout_seconds)
    try:
        return told(reply.body), reply.date_seconds
    except ValueError:
        raise not_a_daemon(url) from None


def not_a_daemon(url: str) -> NotAskedError:
    """Return the error for an answer that no daemon of this version gives."""
    return NotAskedError(
        f"what answers at {url} is no loadfleet-exporter {__version__}; correct the URL, or use the"
        " command of the daemon's version"
    )


def refused(page: str, reply: Reply) -> NotAskedError:
    """Return the error for a reply that is no answer."""
    match = _SENTENCE.fullmatch(reply.body[:1000].decode(errors="replace"))
    own = match is not None and int(match[1]) == reply.status and match[2].isprintable()
    sentence = match[2] if match and own else ""
    if 300 <= reply.status < 400:
        why = "it answers with a redirect; give the URL that it leads to"
    else:
        why = _REMEDIES.get(reply.status) or f"it answers with {reply.status}"
    if sentence:
        why = f"it answers with {reply.status}: {sentence}"
    return NotAskedError(f"cannot read {page}: {why}", status=reply.status, sentence=sentence)
