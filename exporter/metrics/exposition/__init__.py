"""The page that Prometheus reads: snapshots in, bytes out, rendered once per change.

From the inside out: `notation` writes labels and values, `lines` renders the samples of one
snapshot family by family, `body` joins and packs them, `own` writes the exporter's own metrics,
`negotiation` finds the form that a client takes, `cache` keeps what is served.
"""

from __future__ import annotations

from exporter.metrics.exposition.cache import Exposition, ScrapeResponse, page_of
from exporter.metrics.exposition.negotiation import accepts_gzip, accepts_plain


__all__ = ["Exposition", "ScrapeResponse", "accepts_gzip", "accepts_plain", "page_of"]
