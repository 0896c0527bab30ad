"""An Eggplant DAI server as a source: all agents and their runs."""

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
    """Make a source; sends nothing yet. `http` may be a client with another transport."""
    http = http or http_client(settings, context, settings.auth.secret.fingerprint)
    client = EggplantClient(settings, context, http=http)
    return Source(
        client,
        tasks={TASK: client.poll},
        explainers={kind: partial(client.explain, kind) for kind in ("agent", "run")},
    )
