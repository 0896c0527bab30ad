"""From samples to alerts: the table of alerting rules, and everything generated from it.

The built-in evaluation calls the modules in this order. At each tick `alerting` gathers the
`samples`. `evaluate` then judges each `rule` of the `table`: it computes the `values` of the rule's
`expression`, looks for `evidence` that an alert has ended, and fills in the `texts` about the
targets that the rule is `about`. `alertmanager` sends the alerts, `heartbeat` sends a sign of life,
and `memory` keeps the alerts across restarts.

The rows of the `table` are in `operation`, `machines` and `runs`; `thresholds` and `settings`
change them. `formats` writes the table for Prometheus, `grafana` for Grafana.
"""
