"""The page `/metrics`, rendered from snapshots once per change.

From low to high level: `notation` writes labels and values, `lines` renders the samples of one
snapshot by family, `body` joins and compresses them, `own` writes the exporter's own metrics,
`negotiation` chooses the format for a client, `cache` keeps the page ready.
"""

from __future__ import annotations

from exporter.metrics.exposition.cache import Exposition, ScrapeResponse, page_of
from exporter.metrics.exposition.negotiation import accepts_gzip, accepts_plain


__all__ = ["Exposition", "ScrapeResponse", "accepts_gzip", "accepts_plain", "page_of"]
