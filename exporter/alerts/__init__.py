"""From samples to alerts: the table of rules, and everything that is made from it.

The built-in alerts run straight down: `alerting` ticks, `samples` are gathered, `evaluate` judges
each `expression` of a `rule` of the `table` and fills in its texts, and `alertmanager` sends the
alerts; `memory` keeps them over a restart. `formats` writes the same table for Prometheus.
"""
