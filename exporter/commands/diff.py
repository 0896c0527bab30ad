"""What a reload would do: a configuration compared with the one a daemon runs."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import yaml

from exporter.errors import StartError
from exporter.reload import difference
from exporter.settings import redacted


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.settings import Settings


TIMEOUT_SECONDS = 10.0


def running(url: str) -> dict[str, Any]:
    """Return the configuration that a daemon runs, as its `/config` shows it.

    Raises:
        StartError: There is no daemon at the URL, or it does not show its configuration.
    """
    if not url.startswith(("http://", "https://")):
        raise StartError("--diff takes the URL of a running daemon, such as http://localhost:10871")
    try:
        with urllib.request.urlopen(  # noqa: S310 - the scheme is checked
            f"{url.rstrip('/')}/config", timeout=TIMEOUT_SECONDS
        ) as reply:
            document = yaml.safe_load(reply.read())
    except (OSError, yaml.YAMLError) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else type(error).__name__
        raise StartError(f"cannot read the configuration of the daemon at {url}: {why}") from None
    if not isinstance(document, dict):
        raise StartError(f"what answers at {url} is no loadfleet-exporter")
    return document


def lines(old: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """Say what a reload would start, restart and stop.

    Secrets are not compared: nobody shows them, and a changed secret restarts nothing.

    Args:
        old: A redacted configuration.
        settings: What would be loaded.
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
    for section in ("web", "sharding"):
        if old.get(section) != new.get(section):
            yield f"{section} differs: only a restart of the daemon applies it"


def _by_name(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {source["name"]: source for source in document.get("sources", [])}
