"""From samples to alerts: the table of rules, and everything that is made from it.

The built-in alerts run straight down: `alerting` ticks, `samples` are gathered, and `evaluate`
judges each `rule` of the `table`: it computes the `values` of the rule's `expression`, looks for
evidence of an end as `about` says, and fills in the `texts`. `alertmanager` sends the alerts,
`heartbeat` a sign of life, and `memory` keeps the alerts over a restart. The `table` has more rows
in `operation` and `runs`; `thresholds` and `settings` change it. `formats` writes it for
Prometheus, and `grafana` for Grafana.
"""
