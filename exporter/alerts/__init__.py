"""From samples to alerts: the table of rules, and everything that is made from it.

The built-in alerts run straight down: `alerting` ticks, `samples` are gathered, and `evaluate`
judges each `rule` of the `table`: it computes the `values` of the rule's `expression`, looks for
`evidence` of an end, and fills in the `texts` on what the rule is `about`. `alertmanager` sends the
alerts, `heartbeat` a sign of life, and `memory` keeps the alerts over a restart. The rows of the
`table` are in `operation`, `machines` and `runs`; `thresholds` and `settings` change them.
`formats` writes them for Prometheus, and `grafana` for Grafana.
"""
