"""The source for one Eggplant DAI server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from exporter.sources.base import Source, SourceContext
from exporter.sources.calls import http_client
from exporter.sources.eggplant.client import TASK, EggplantClient


if TYPE_CHECKING:
    from exporter.http import HttpClient
    from exporter.sources.eggplant.settings import EggplantSettings


def connect(
    settings: EggplantSettings, context: SourceContext, *, http: HttpClient | None = None
) -> Source:
    """Return a new source, which has not sent a call yet.

    Args:
        settings: The source's settings.
        context: Everything else the source needs.
        http: The HTTP client to use; a new one if not given.
    """
    http = http or http_client(settings, context, settings.auth.secret.fingerprint)
    client = EggplantClient(settings, context, http=http)
    return Source(
        client,
        tasks={TASK: client.poll},
        explainers={kind: partial(client.explain, kind) for kind in ("agent", "run")},
    )
