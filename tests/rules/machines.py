"""Cases of every alert about a machine: those that fire, those that nearly do, and silences."""

from __future__ import annotations

from tests.rules.case import EPOCH, Case


_PAGE = "target?source=prod&kind="

_AGENT, _MEMBER = "agent_id agent", "cluster_id agent_cluster member_id agent_id agent"
_CLUSTER, _RECORDER = "cluster_id agent_cluster", "recorder_id recorder"

_OF_AGENTS, _OF_CLUSTERS = ("agents", "agent"), ("clusters", "cluster")
_OF_CONTROLLERS, _OF_RECORDERS = ("controllers", "controller"), ("recorders", "recorder")

_MANAGED = {"the vendor's own": {"agent_info managed=vendor": "1"}}
_HOST = {"agent_info": "1"}
_SKEWED = {
    "agent's clock": {"agent_clock_delta_seconds": "5.1"},
    "controller's clock": {"cluster_info": "1", "controller_clock_delta_seconds": "-5.1"},
}
_UNUSABLE = _MANAGED | {"agent down": {"agent_up": "0"}, "agent outdated": {"agent_outdated": "1"}}
_BEHIND = {"cluster_info": "1", "controller_up": "0"}

MACHINES = (
    Case(
        "HalfOfAgentsDown", "critical", "", *_OF_AGENTS,
        {"agent_up": "0", "agent_up agent_id=47 agent=load-47": "1"},
        {"agent_up": "1", "agent_up agent_id=47 agent=load-47": "1"},
        "At least 50% of the agents of source prod (realload) cannot be reached. Most likely they"
        " have one cause in common, such as a network or a data centre. They are: load-46.",
        "?source=prod",
        silent={
            "one of three": {"agent_up agent_id=48 agent=c": "1"},
            "the vendor's own": {
                "agent_up agent_id=48 agent=c": "1",
                "agent_up agent_id=49 agent=d": "0",
                "agent_info agent_id=49 agent=d managed=vendor": "1",
            },
        },
        also={"all": {"agent_up agent_id=47 agent=load-47": "0"}},
    ),
    Case(
        "ControllerUnreachable", "critical", "controller", *_OF_CONTROLLERS,
        {"controller_up": "0"}, {"controller_up": "1"},
        "Controller ctrl-1 of source prod cannot be reached. No test can run on its clusters."
        f" Reason: timeout. Since {EPOCH}.",
        f"{_PAGE}controller&id=ctrl-1",
        details={"controller_failure": "1", "controller_changed_timestamp_seconds": "0.7"},
    ),
    Case(
        "ClusterUnusable", "critical", _CLUSTER, *_OF_CLUSTERS,
        {"cluster_up": "0"}, {"cluster_up": "1"},
        "The controller of cluster north (id 3) of source prod cannot be asked for the cluster's"
        f" members. No test can run on the cluster. Controller: ctrl-1. Reason: timeout. Since"
        f" {EPOCH}.",
        f"{_PAGE}cluster&id=3",
        silent={
            "controller down": _BEHIND,
            "controller outdated": {
                "cluster_info": "1",
                "controller_outdated": "1",
                "cluster_failure reason=outdated": "1",
            },
        },
        also={
            "other controller down": {"cluster_info": "1", "controller_up controller=c2": "0"},
            "refused by an outdated one": {
                "cluster_info": "1",
                "controller_outdated": "1",
                "cluster_failure reason=access_denied": "1",
            },
        },
        details={
            "cluster_info": "1",
            "cluster_failure": "1",
            "cluster_changed_timestamp_seconds": "0",
        },
    ),
    Case(
        "AgentUnreachable", "critical", _AGENT, *_OF_AGENTS,
        {"agent_up": "0"}, {"agent_up": "1"},
        "Agent load-46 (id 46) of source prod cannot be reached. Tests that need it fail or run"
        f" with less load. Host: load46.example.com. Reason: timeout. Since {EPOCH}.",
        f"{_PAGE}agent&id=46",
        silent=_MANAGED,
        also={"own": {"agent_info managed=user": "1"}},
        details={"agent_info": "1", "agent_failure": "1", "agent_changed_timestamp_seconds": "0"},
    ),
    Case(
        "MemberUnreachable", "critical", _MEMBER, *_OF_CLUSTERS,
        {"cluster_member_up": "0"}, {"cluster_member_up": "1"},
        "Agent load-46 (id 46) of cluster north of source prod answers the portal but cannot be"
        " used by the controller. Tests on the cluster run without it. Host: load46.example.com."
        f" Reason: timeout. Since {EPOCH}.",
        f"{_PAGE}cluster&id=3",
        silent={"controller down": _BEHIND} | _UNUSABLE,
        also={
            "other agent down": {"agent_up agent_id=47 agent=b": "0", "agent_up": "1"},
            "agent up elsewhere": {"agent_up": "0", "agent_up instance=b": "1"},
            "other controller down": {"cluster_info": "1", "controller_up controller=c2": "0"},
        },
        details={
            "agent_info": "1",
            "cluster_member_failure": "1",
            "cluster_member_changed_timestamp_seconds": "0",
        },
    ),
    Case(
        "RecorderUnreachable", "warning", _RECORDER, *_OF_RECORDERS,
        {"recorder_up": "0"}, {"recorder_up": "1"},
        "Recorder rec-5 (id 5) of source prod cannot be reached. Nobody can record sessions with"
        f" it. Host: load46.example.com. Reason: timeout. Since {EPOCH}.",
        f"{_PAGE}recorder&id=5",
        details={
            "recorder_info": "1",
            "recorder_failure": "1",
            "recorder_changed_timestamp_seconds": "0",
        },
    ),
    Case(
        "LocationWithoutAgents", "warning", "location_id location_name", "agents", "location",
        {"location_agents_up": "0", "location_active": "1"},
        {"location_agents_up": "1", "location_active": "1"},
        "No agent of location Bern (id 9) of source prod is up. No test can start there.",
        f"{_PAGE}location&id=9",
        silent={"disabled": {"location_active": "0"}},
    ),
    Case(
        "ControllerOutdated", "critical", "controller", *_OF_CONTROLLERS,
        {"controller_outdated": "1", "controller_up": "1"},
        {"controller_outdated": "0", "controller_up": "1"},
        "Controller ctrl-1 of source prod answers but is older than the oldest version accepted."
        " No test can run on its clusters until it is updated. Version: 6.1.",
        f"{_PAGE}controller&id=ctrl-1",
        silent={"down": {"controller_up": "0"}},
        details={"controller_info": "1"},
        suffices=True,
    ),
    Case(
        "ClusterOutdated", "warning", _CLUSTER, *_OF_CLUSTERS,
        {"cluster_outdated": "1", "cluster_up": "1"},
        {"cluster_outdated": "0", "cluster_up": "1"},
        "Cluster north (id 3) of source prod can still be asked for its members, but its"
        " controller is older than the oldest version accepted. Controller: ctrl-1.",
        f"{_PAGE}cluster&id=3",
        silent={
            "unusable": {"cluster_up": "0"},
            "controller outdated": {
                "cluster_info": "1",
                "controller_outdated": "1",
                "controller_up": "1",
            },
        },
        details={"cluster_info": "1"},
        suffices=True,
    ),
    Case(
        "AgentOutdated", "critical", _AGENT, *_OF_AGENTS,
        {"agent_outdated": "1", "agent_up": "1"}, {"agent_outdated": "0", "agent_up": "1"},
        "Agent load-46 (id 46) of source prod answers but is older than the oldest version"
        " accepted. Tests may be unable to use it until it is updated. Host: load46.example.com."
        " Version: 6.1.",
        f"{_PAGE}agent&id=46",
        silent=_MANAGED | {"down": {"agent_up": "0"}},
        also={"up elsewhere": {"agent_up": "0", "agent_up instance=b": "1"}},
        details=_HOST,
        suffices=True,
    ),
    Case(
        "MemberOutdated", "critical", _MEMBER, *_OF_CLUSTERS,
        {"cluster_member_outdated": "1", "cluster_member_up": "1"},
        {"cluster_member_outdated": "0", "cluster_member_up": "1"},
        "Agent load-46 (id 46) of cluster north of source prod answers its controller but is"
        " older than the oldest version accepted. Host: load46.example.com. Version: 6.1.",
        f"{_PAGE}cluster&id=3",
        silent=_UNUSABLE,
        details=_HOST | {"cluster_member_info": "1"},
        suffices=True,
    ),
    Case(
        "RecorderOutdated", "warning", _RECORDER, *_OF_RECORDERS,
        {"recorder_outdated": "1", "recorder_up": "1"},
        {"recorder_outdated": "0", "recorder_up": "1"},
        "Recorder rec-5 (id 5) of source prod answers but is older than the oldest version"
        " accepted. Update it before using it again. Host: load46.example.com."
        " Version: 6.1.",
        f"{_PAGE}recorder&id=5",
        silent={"down": {"recorder_up": "0"}},
        details={"recorder_info": "1"},
        suffices=True,
    ),
    *(
        Case(
            f"{name}ClockSkew", "warning", labels, *listing,
            {f"{metric}_clock_delta_seconds": "5.1", f"{metric}_up": "1"},
            # A value at the limit must not fire.
            {f"{metric}_clock_delta_seconds": "5", f"{metric}_up": "1"},
            f"{text} It is 5.1s off.{host}",
            f"{_PAGE}{page}",
            silent=_SKEWED if name == "Member" else {},
            also={"slow": {f"{metric}_clock_delta_seconds": "-5.1"}},
            details={info: "1"} if host else {},
            suffices=True,
        )
        for name, metric, labels, listing, text, host, info, page in (
            (
                "Agent", "agent", _AGENT, _OF_AGENTS,
                "The clock of agent load-46 (id 46) of source prod is wrong.",
                " Host: load46.example.com.", "agent_info", "agent&id=46",
            ),
            (
                "Controller", "controller", "controller", _OF_CONTROLLERS,
                "The clock of controller ctrl-1 of source prod is wrong.",
                "", "", "controller&id=ctrl-1",
            ),
            (
                "Member", "cluster_member", _MEMBER, _OF_CLUSTERS,
                ("The clock of agent load-46 (id 46) in cluster north of source prod differs from"
                " its controller's."),
                " Host: load46.example.com.", "agent_info", "cluster&id=3",
            ),
            (
                "Recorder", "recorder", _RECORDER, _OF_RECORDERS,
                "The clock of recorder rec-5 (id 5) of source prod is wrong.",
                " Host: load46.example.com.", "recorder_info", "recorder&id=5",
            ),
        )
    ),
    Case(
        "CertificateExpiring", "warning", "certificate_id certificate host", "certificates", "",
        {"certificate_not_after_timestamp_seconds": "0"},
        {"certificate_not_after_timestamp_seconds": "9e9"},
        "Client certificate shop (id 4) for load46.example.com of source prod expires soon. It"
        f" ends at {EPOCH}.",
        "?source=prod",
        silent={
            "unused": {"certificate_active": "0"},
            # Two hours before the history ends, two weeks are left.
            "later": {"certificate_not_after_timestamp_seconds": f"{40 * 60 + 1_209_600}"},
        },
        hold=120,
    ),
    Case(
        "AgentUnprotected", "info", _AGENT, *_OF_AGENTS,
        {"agent_protected": "0", "agent_active": "1", "agent_up": "1"},
        {"agent_protected": "1", "agent_active": "1", "agent_up": "1"},
        "Agent load-46 (id 46) of source prod demands no token: anyone who reaches its port can"
        " generate load with it. Host: load46.example.com.",
        f"{_PAGE}agent&id=46",
        silent={"inactive": {"agent_active": "0"}},
        details=_HOST,
        keep=0,
    ),
    Case(
        "AgentRestarted", "info", _AGENT, *_OF_AGENTS,
        {"agent_start_timestamp_seconds": "6000", "agent_up": "1"},
        {"agent_start_timestamp_seconds": "-900", "agent_up": "1"},
        "Agent load-46 (id 46) of source prod was started a short while ago."
        " Since 1970-01-01 01:40:00 +0000 UTC. Host: load46.example.com.",
        f"{_PAGE}agent&id=46",
        # After five minutes, the start is 15 minutes ago.
        silent={"then": {"agent_start_timestamp_seconds": "-600"}},
        details=_HOST,
        keep=0,
        suffices=True,
    ),
)  # fmt: skip
