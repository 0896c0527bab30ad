"""Everything the daemon serves over HTTP: metrics, pages, a JSON API, health."""
