"""The panels on proxy recorders and the client certificates that they present."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.alerts.rule import PREFIX
from exporter.dashboards import states
from exporter.dashboards.dashboard import link
from exporter.dashboards.machine_panels import MachinePanels
from exporter.dashboards.machines import RECORDER
from exporter.dashboards.tables import Column, Table
from exporter.dashboards.uids import AGENTS
from exporter.metrics import catalogue as c


if TYPE_CHECKING:
    from exporter.dashboards.dashboard import Context
    from exporter.dashboards.panels import Panel
    from exporter.dashboards.query import Scope


def rows(scope: Scope, context: Context) -> tuple[tuple[Panel, ...], ...]:
    """Return the panels, row by row."""
    recorders = MachinePanels(machine=RECORDER, scope=scope, context=context)
    return (
        (
            recorders.states("Recorders"),
            recorders.clocks("Recorders' clocks", against="the portal's"),
        ),
        (_facts(recorders),),
        (_certificates(scope, context),),
    )


def _facts(panels: MachinePanels) -> Panel:
    scope = panels.scope
    return Table(
        title="Recorders now",
        description="What is known of each recorder now: why it is not up, its version, its clock,"
        f" what it records. The name shows this recorder alone. From `{c.RECORDER_INFO.name}` and"
        " its like.",
        columns=(
            *panels.facts("version"),
            *panels.limits(),
            Column(
                title="Recording",
                expression=scope.each(c.RECORDER_RECORDING),
                named=states.RECORDING,
            ),
            Column(
                title="Elements",
                expression=scope.each(c.RECORDER_RECORDED_ELEMENTS),
                unit="none",
            ),
        ),
        labels={
            "recorder": "Recorder",
            "source": "Source",
            "version": "Version",
            "reason": "Reason",
        },
        hidden=("provider", "recorder_id"),
        links={"recorder": link(AGENTS, source="source", recorder="recorder")},
        sort="-Value #A",
        height=6,
    )


def _certificates(scope: Scope, context: Context) -> Panel:
    limit = context.thresholds.certificate_expiry
    soon = ((0, "text"),) if limit is None else ((0, states.ORANGE), (limit, "text"))
    return Table(
        title="Client certificates",
        description="How long each client certificate that recorders present is still good. Red"
        " has expired, orange expires soon. Needs the task `certificates` (Real Load), which is"
        f" off by default. From `{c.CERTIFICATE_NOT_AFTER.name}`.",
        columns=(
            Column(
                title="Expires in",
                expression=f"{scope.each(c.CERTIFICATE_NOT_AFTER)} - time()",
                unit="dtdurations",
                steps=((None, states.RED), *soon),
            ),
            Column(
                title="Use",
                expression=scope.each(c.CERTIFICATE_ACTIVE),
                named=states.CERTIFICATE,
            ),
        ),
        labels={"certificate": "Certificate", "host": "Host", "source": "Source"},
        hidden=("provider", "certificate_id"),
        sort="Value #A",
        height=6,
        answers=context.answers(f"{PREFIX}CertificateExpiring"),
    )
