"""The page that Prometheus reads: snapshots in, bytes out, rendered once per change.

The pieces, from the inside out: `numbers` writes values, `lines` renders the samples of one
snapshot family by family, `body` joins and packs them, `own` adds the exporter's own metrics,
`server` keeps what is served.
"""

from __future__ import annotations

from exporter.metrics.exposition.cache import Exposition, Page, page_of


__all__ = ["Exposition", "Page", "page_of"]
