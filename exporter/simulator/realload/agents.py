"""Real Load's replies about agents, recorders and the recorders' client certificates.

A handler takes the fleet and the request. It returns the reply without `isError`, which `app`
adds, or a complete error envelope.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID

from exporter.simulator.realload.fleet import (
    MIN_AGENT_VERSION,
    MIN_RECORDER_VERSION,
    OWNER_ID,
    Agent,
    Fleet,
)


if TYPE_CHECKING:
    from exporter.simulator.world import Machine

Json = dict[str, Any]
Handler = Callable[[Fleet, Json], Json]

PINGED: Final = {"pingFromRemoteIp": "203.0.113.5", "pingFromRemoteUserId": OWNER_ID}
JAVA: Final = {"javaVersion": "11.0.1", "javaVendor": "Oracle Corporation"}
OS: Final = {"osName": "Linux", "osVersion": "5.4.0-92-generic"}
AGENT_FLAGS: Final = (
    "agentIdError",
    "agentAccessDeniedError",
    "agentNotReachableError",
    "agentVersionOutdatedError",
)
RECORDER_FLAGS: Final = (
    "recorderNotReachableError",
    "recorderIdError",
    "recorderAccessDeniedError",
)
_DAYS_LEFT: Final = (300, 10, -3)


def failure(text: str, flags: tuple[str, ...] = (), flag: str = "") -> Json:
    """Return an error envelope with all flags of an action, of which `flag` is set."""
    return {
        "isError": True,
        "genericErrorText": text,
        **{name: name == flag for name in flags},
    }


def millis(seconds: float) -> int:
    """Return seconds in whole milliseconds."""
    return math.floor(seconds * 1000)


def agent_row(agent: Agent) -> Json:
    """Return an agent as in the vendor's lists."""
    row: Json = {
        "agentId": agent.agent_id,
        "createdBySystem": agent.shared,
        "ownerUserId": OWNER_ID,
        "agentActive": agent.active,
        "agentDescription": agent.description,
        "agentHost": agent.host,
        "agentPort": agent.port,
        "authToken": agent.token,
    }
    if agent.shared or agent.cloud:
        row["sharedMeasuringAgentTemplateId"] = 5 if agent.shared else -1
        row["isLaunchedByCloudCredits"] = agent.cloud
    return row


def _agents(fleet: Fleet, _: Json) -> Json:
    return {"measuringAgentsArray": [agent_row(agent) for agent in fleet.agents.values()]}


def _ping_agent(fleet: Fleet, request: Json) -> Json:
    agent_id = request.get("agentId")
    agent = fleet.agents.get(str(agent_id))
    if agent is None:
        return failure(f"Invalid agentId = {agent_id}", AGENT_FLAGS, "agentIdError")
    if agent.denied:
        return failure("Access denied", AGENT_FLAGS, "agentAccessDeniedError")
    if agent.broken is not None:
        return failure(agent.broken)
    moment = fleet.timeline.moment()
    if not agent.is_up(moment):
        text = f"API V1 request to {agent.host}:{agent.port} timed out"
        return failure(text, AGENT_FLAGS, "agentNotReachableError")
    if agent.outdated:
        text = f"Min. measuring agent version required: {MIN_AGENT_VERSION}"
        return failure(text, AGENT_FLAGS, "agentVersionOutdatedError")
    return {
        "agentResponse": {
            **PINGED,
            "productVersion": agent.version,
            "limitMaxUsersPerJob": agent.max_users,
            "limitMaxJobDurationSeconds": agent.max_seconds,
            **OS,
            **JAVA,
            "javaMaxMemory": memory_of(agent),
            **clock_of(fleet, agent),
            "agentStartupTimeStamp": started_of(fleet, agent),
            "httpExecuteTimeMillis": agent.took(moment, least_millis=40, spread_millis=210),
        }
    }


def memory_of(agent: Agent) -> str:
    """Return an agent's memory as text, as in the reply to a ping."""
    return f"{agent.memory_mb:,} MB".replace(",", agent.memory_separator)


def clock_of(fleet: Fleet, machine: Machine) -> Json:
    """Return the fields about a machine's clock in the reply to a ping."""
    delta = round(machine.skew_seconds * 1000) + int(machine.jitter * 160) - 80
    return {
        "systemTime": millis(fleet.timeline.now()) + delta,
        "deltaTimeMillis": delta,
    }


def started_of(fleet: Fleet, machine: Machine) -> int:
    """Return when a machine started, in Unix milliseconds of its own clock."""
    timeline = fleet.timeline
    started = timeline.unix(machine.started(timeline.moment()))
    return millis(started + machine.skew_seconds)


def _recorders(fleet: Fleet, _: Json) -> Json:
    return {
        "proxyRecordersArray": [
            {
                "recorderId": recorder.recorder_id,
                "createdBySystem": False,
                "ownerUserId": OWNER_ID,
                "recorderDescription": recorder.description,
                "recorderProxyHost": recorder.host,
                "recorderProxyPort": 8082,
                "recorderProxyAuthUsername": recorder.username,
                "recorderProxyAuthPassword": recorder.password,
                "recorderControlPort": 8081,
                "recorderControlAuthToken": recorder.token,
            }
            for recorder in fleet.recorders.values()
        ]
    }


def _ping_recorder(fleet: Fleet, request: Json) -> Json:
    recorder_id = request.get("recorderId")
    recorder = fleet.recorders.get(str(recorder_id))
    if recorder is None:
        return failure(f"Invalid recorderId = {recorder_id}", RECORDER_FLAGS, "recorderIdError")
    moment = fleet.timeline.moment()
    if not recorder.is_up(moment):
        return failure("connect timed out", RECORDER_FLAGS, "recorderNotReachableError")
    return {
        "pongResponse": {
            **PINGED,
            "productVersion": recorder.version,
            "recorderComponentVersion": "1.1.0",
            "isRecording": recorder.recording,
            "recordHostFilter": "",
            "numRecordedElements": int(moment) % 600 if recorder.recording else 0,
            **OS,
            "javaMemoryMB": 2048,
            **JAVA,
            **clock_of(fleet, recorder),
            "httpExecuteTimeMillis": recorder.took(moment, least_millis=30, spread_millis=80),
        }
    }


def _certificates(fleet: Fleet, _: Json) -> Json:
    """Return three certificates: valid, about to expire, and expired."""
    if fleet.certificates is None:
        fleet.certificates = _make_rows(fleet.timeline.now())
    return {"clientCertificatesArray": fleet.certificates}


def _make_rows(now: float) -> list[Json]:
    today = dt.datetime.fromtimestamp(now, dt.UTC)
    return [
        {
            "certificateId": number,
            "ownerUserId": OWNER_ID,
            "recorderId": -1,
            "originalCertFileName": f"client-{number}.p12",
            "certFileType": "PKCS#12",
            "certFileDataB64": _container(number, today, today + dt.timedelta(days=days)),
            "certPassword": _password(number),
            "certDescription": f"Client {number}",
            "certActive": days > 0,
            "applyForHost": f"app{number}.example.net",
            "applyForPort": 443,
        }
        for number, days in enumerate(_DAYS_LEFT, start=1)
    ]


def _password(number: int) -> str:
    return f"simulated-password-{number}"


def _container(number: int, today: dt.datetime, expires: dt.datetime) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"client {number}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(today - dt.timedelta(days=365))
        .not_valid_after(expires)
        .sign(key, hashes.SHA256())
    )
    encryption = BestAvailableEncryption(_password(number).encode())
    data = pkcs12.serialize_key_and_certificates(b"client", key, certificate, None, encryption)
    return base64.b64encode(data).decode()


AGENT_HANDLERS: Final[dict[str, Handler]] = {
    "getMeasuringAgents": _agents,
    "getMinRequiredMeasuringAgentVersion": lambda *_: {
        "minRequiredMeasuringAgentVersion": MIN_AGENT_VERSION
    },
    "pingMeasuringAgent": _ping_agent,
    "getProxyRecorders": _recorders,
    "getMinRequiredProxyRecorderVersion": lambda *_: {
        "minRequiredProxyRecorderVersion": MIN_RECORDER_VERSION
    },
    "pingProxyRecorder": _ping_recorder,
    "getProxyRecordersClientCertificates": _certificates,
}
