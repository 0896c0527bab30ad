"""`check-config`: everything that is wrong with the configuration, or the effect of a reload."""

from __future__ import annotations

import argparse
import http.client
import ssl
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import yaml

from exporter.commands.configuration import auto_reload_seconds, load_settings
from exporter.config.types import WrongValueError, check_url
from exporter.errors import ExporterError
from exporter.polling.reload import BY_RELOAD, BY_RESTART, difference
from exporter.settings import flags
from exporter.settings.load import redacted
from exporter.web.access.security import WebSecurity


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.settings.load import Loaded, Settings


SUMMARY = "check the configuration; exit 2 if something is wrong with it"

TIMEOUT_SECONDS = 10.0

#: By the answer's status.
_REMEDIES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "it asks for a password, which --diff cannot give; compare its"
    " /config by hand",
    HTTPStatus.NOT_FOUND: "it has no such page; is this the daemon's URL, with its prefix?",
}


class NotAskedError(ExporterError):
    """The daemon's configuration cannot be had."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the flags that name a configuration."""
    for flag in (*flags.COMMON, *flags.DAEMON):
        flag.add_to(parser)
    parser.add_argument(
        "--diff",
        type=daemon_url,
        metavar="URL",
        help="tell what a reload would do to the daemon at this URL",
    )


def execute(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Check, then tell what is watched or what a reload would change."""
    loaded = checked(arguments, environ)
    if arguments.diff:
        try:
            old = running(arguments.diff)
        except NotAskedError as error:
            print(f"--diff: {error}", file=sys.stderr)
            return 1
        print("\n".join(lines(old, loaded.settings)))
        return 0
    return tell(loaded)


def checked(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Loaded:
    """Load the configuration, the web configuration file it names, and all else the daemon reads.

    Raises:
        ConfigurationError: With the mistakes in the first of them that has any.
    """
    loaded = load_settings(arguments, environ, (*flags.COMMON, *flags.DAEMON))
    if loaded.settings.web.config_file is not None:
        WebSecurity(loaded.settings.web.config_file)
    auto_reload_seconds(arguments, environ)
    return loaded


def tell(loaded: Loaded) -> int:
    """Print what a configuration without mistakes watches, and what should be changed in it."""
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for source in loaded.settings.sources:
        tasks = ", ".join(source.intervals())
        print(f"{source.provider} {source.name}: {tasks}")
    print("configuration: fine")
    return 0


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


def running(url: str) -> dict[str, Any]:
    """Return the configuration that a daemon runs, as its `/config` shows it.

    Raises:
        NotAskedError: There is no daemon at the URL, or it does not show its configuration.
    """
    try:
        with urllib.request.urlopen(  # noqa: S310 - the scheme is checked
            f"{url}/config", timeout=TIMEOUT_SECONDS
        ) as reply:
            document = yaml.safe_load(reply.read())
    except (OSError, http.client.HTTPException, UnicodeError, yaml.YAMLError) as error:
        raise NotAskedError(f"cannot read {url}/config: {_why(error)}") from None
    if not isinstance(document, dict):
        raise NotAskedError(f"what answers at {url} is no loadfleet-exporter; correct the URL")
    return document


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return _REMEDIES.get(error.code) or f"it answers with {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({reason.verify_message}); if its authority is your"
            " own, name the file with it in SSL_CERT_FILE"
        )
    if isinstance(reason, OSError):
        return f"{reason.strerror or 'no answer in time'}; is the daemon running there?"
    return "the answer is not the daemon's; correct the URL"


def lines(old: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """Yield what a reload would start, restart, stop and apply.

    Secrets are not compared: nobody shows them, and a changed secret restarts nothing.

    Args:
        old: A redacted configuration.
        settings: The ones that would be loaded.
    """
    new = redacted(settings)
    before, after = _by_name(old), _by_name(new)
    found = difference(before, after)
    for name in found.added:
        yield f"start    {name}"
    for name in found.changed:
        keys = before[name].keys() | after[name].keys()
        changed = sorted(key for key in keys if before[name].get(key) != after[name].get(key))
        yield f"restart  {name}: {', '.join(changed)}"
    for name in found.removed:
        yield f"stop     {name}"
    for name in found.kept:
        yield f"keep     {name}"
    for section in BY_RELOAD:
        if old.get(section) != new.get(section):
            yield f"{section} differs: a reload applies it"
    for section in BY_RESTART:
        if old.get(section) != new.get(section):
            yield (
                f"{section} differs: only a restart of the daemon applies it"
                " (give check-config the daemon's own flags and environment)"
            )
    yield "secrets are not compared"


def _by_name(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {source["name"]: source for source in document.get("sources", [])}
