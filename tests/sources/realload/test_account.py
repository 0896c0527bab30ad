from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from cryptography.x509.oid import NameOID

from exporter.errors import PollError, Reason
from exporter.fleet.readings import Account, Certificate, MinVersion, Template
from tests.support.realload import Rig, Script, exposed, fixture, reply


_OK = {
    "getMinRequiredMeasuringAgentVersion": "ok",
    "getMinRequiredClusterControllerVersion": "ok",
    "getMinRequiredProxyRecorderVersion": "ok",
    "getPricePlanInfo": "ok_inferred",
}

_PASSWORD = "open-sesame"
_NOT_AFTER = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


async def plan(answer: Script) -> tuple[Rig, list[float | None]]:
    """Return the duration limits found in a price plan."""
    source = Rig({**_OK, "getPricePlanInfo": answer})
    readings = await source.readings("versions")
    limits = [r.job_duration_limit_seconds for r in readings if isinstance(r, Account)]
    return source, limits


async def test_exposes_versions_and_the_price_plan() -> None:
    """The examples become exactly these samples."""
    readings = await Rig(_OK).readings("versions")

    assert {
        'min_required_version_info{component="measuring_agent",version="3.9.30"}': 1,
        'min_required_version_info{component="cluster_controller",version="4.0.4"}': 1,
        'min_required_version_info{component="proxy_recorder",version="0.2.0"}': 1,
        "account_job_duration_limit_seconds{}": math.inf,
    } == exposed(*readings)


async def test_reads_a_limited_price_plan() -> None:
    """A limit is a number of seconds."""
    _, limits = await plan("limited_inferred")

    assert [3600.0] == limits


@pytest.mark.parametrize(
    "body",
    [
        {"maxDurationPerLoadJob": 60, "isError": False},
        {"a": [{"b": {"maxDurationPerLoadJob": 60}}], "isError": False},
        {"maxDurationPerLoadJob": "x", "a": {"maxDurationPerLoadJob": 60.0}, "isError": False},
    ],
)
async def test_finds_the_limit_at_any_place(body: dict[str, object]) -> None:
    """The shape of the price plan is not documented."""
    _, limits = await plan(body)

    assert [60.0] == limits


@pytest.mark.parametrize(
    "body",
    [
        b'{"isError": false}',
        b'{"isError": false, "x": {"maxDurationPerLoadJob": true}}',
        b'{"isError": false, "x": {"maxDurationPerLoadJob": 1e999}}',
        b'{"isError": false, "x":'
        + b"[" * 500
        + b'{"maxDurationPerLoadJob": 1}'
        + b"]" * 500
        + b"}",
    ],
)
async def test_does_without_a_limit_it_cannot_find(body: bytes) -> None:
    """A price plan without a readable limit is a surprise and no failure."""
    source, limits = await plan(body)

    assert [] == limits
    assert 1 == source.surprises("missing_field")


async def test_shows_no_empty_version() -> None:
    """A version that is not given has no series."""
    empty = {"minRequiredProxyRecorderVersion": "", "isError": False}
    readings = await Rig({**_OK, "getMinRequiredProxyRecorderVersion": empty}).readings("versions")

    components = [r.component for r in readings if isinstance(r, MinVersion)]
    assert ["measuring_agent", "cluster_controller"] == components


async def test_keeps_a_value_while_it_is_not_stale() -> None:
    """A value whose call failed must be kept until it is stale."""
    source = Rig(_OK)
    before = await source.readings("versions")
    source.portal.script["getMinRequiredMeasuringAgentVersion"] = reply(b"", 502)
    await source.time.advance(600)

    carried = await source.source.poll("versions")
    await source.time.advance(1201)
    stale = await source.source.poll("versions")

    assert before == carried.readings
    assert before[1:] == stale.readings
    assert [Reason.HTTP_5XX] == [failure.reason for failure in stale.failures]
    assert not stale.cut


async def test_tells_nothing_when_all_calls_fail() -> None:
    """Without any answer there is no snapshot."""
    source = Rig(dict.fromkeys(_OK, reply(b"", 502)))

    with pytest.raises(PollError) as caught:
        await source.source.poll("versions")

    assert Reason.HTTP_5XX is caught.value.reason


@cache
def container() -> str:
    """Make a PKCS#12 container as the portal hands them out."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(_NOT_AFTER)
        .sign(key, hashes.SHA256())
    )
    encryption = BestAvailableEncryption(_PASSWORD.encode())
    data = pkcs12.serialize_key_and_certificates(b"client", key, certificate, None, encryption)
    return base64.b64encode(data).decode()


def certificates(**fields: object) -> Rig:
    item = {
        "certificateId": 1,
        "certFileType": "PKCS#12",
        "certFileDataB64": container(),
        "certPassword": _PASSWORD,
        "certDescription": "Fischer",
        "certActive": True,
        "applyForHost": "app1.example.net",
        **fields,
    }
    body = {"clientCertificatesArray": [item], "isError": False}
    return Rig({"getProxyRecordersClientCertificates": body})


async def test_reads_when_a_certificate_expires() -> None:
    """The date comes out of the container; nothing else of it does."""
    readings = await certificates().readings("certificates")

    own = 'certificate_id="1",certificate="Fischer",host="app1.example.net"'
    assert {
        f"certificate_active{{{own}}}": 1,
        f"certificate_not_after_timestamp_seconds{{{own}}}": _NOT_AFTER.timestamp(),
    } == exposed(*readings)


@pytest.mark.parametrize(
    "fields",
    [
        {"certPassword": "wrong"},
        {"certPassword": None},
        {"certPassword": 5},
        {"certFileDataB64": "MIIRQQ.....CAA="},
        {"certFileDataB64": "AAAA"},
        {"certFileDataB64": ""},
        {"certFileDataB64": {"a": 1}},
        {"certFileDataB64": base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()},
    ],
)
async def test_does_without_the_expiry_of_what_it_cannot_open(fields: dict[str, object]) -> None:
    """A container that does not open costs its date and is a surprise."""
    source = certificates(**fields)

    (certificate,) = await source.readings("certificates")

    assert isinstance(certificate, Certificate)
    assert (True, None) == (certificate.active, certificate.not_after_timestamp_seconds)
    assert 1 == source.surprises("type")


async def test_reads_the_documented_certificates() -> None:
    """The printed containers are cut, all else is read."""
    source = Rig({"getProxyRecordersClientCertificates": "ok"})

    assert (
        Certificate(
            certificate_id="1", certificate="Fischer's Cert", host="app1.example.net", active=True
        ),
        Certificate(certificate_id="3", certificate="3", host="app3.example.net", active=False),
    ) == await source.readings("certificates")


async def test_takes_each_certificate_once() -> None:
    """A certificate without an id, or with another's, must be left out and counted."""
    items = [{"certificateId": None}, {"certificateId": 1}, {"certificateId": 1}]
    source = Rig({"getProxyRecordersClientCertificates": {"clientCertificatesArray": items}})

    readings = await source.readings("certificates")

    assert ["1"] == [one.certificate_id for one in readings if isinstance(one, Certificate)]
    assert 1 == source.surprises("missing_field")


async def test_exposes_the_documented_templates() -> None:
    """The printed example becomes exactly these samples."""
    readings = await Rig({"getTestjobTemplates": "ok"}).readings("templates")

    assert {
        'template_healthy{template_id="10",template="SimpleTest 1VU"}': 1,
        'template_healthy{template_id="11",template="SimpleTestWithInputFields 10VU"}': 1,
    } == exposed(*readings)


async def test_reads_an_unhealthy_template_and_one_without_a_verdict() -> None:
    """A missing verdict is none."""
    templates = fixture("getTestjobTemplates.ok")
    templates["testjobTemplatesArray"][0]["testIsHealthy"] = False
    del templates["testjobTemplatesArray"][1]["testIsHealthy"]

    readings = await Rig({"getTestjobTemplates": templates}).readings("templates")

    assert [False, None] == [each.healthy for each in readings if isinstance(each, Template)]


async def test_leaves_out_a_template_that_has_no_id_or_one_that_is_taken() -> None:
    """A template without an id, or with another's, must be left out and counted."""
    templates = fixture("getTestjobTemplates.ok")
    again = templates["testjobTemplatesArray"][0]
    templates["testjobTemplatesArray"] += [again, {}, {"testjobTemplate": {"templateName": "x"}}]
    source = Rig({"getTestjobTemplates": templates})

    assert 2 == len(await source.readings("templates"))
    assert (1, 2) == (source.surprises("type"), source.surprises("missing_field"))
