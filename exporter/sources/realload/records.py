"""Job templates and client certificates, each kind read whole with one call.

The expiry of a certificate stands only inside the container that holds the private key, so the
container has to be opened. That happens in a function that keeps nothing but a time stamp.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import pkcs12

from exporter.fleet.readings import Certificate, Template
from exporter.sources.base import Poll
from exporter.sources.realload import actions
from exporter.sources.realload.inventory import wanted_items
from exporter.sources.realload.replies import TemplateInfo
from exporter.sources.realload.values import flag, secret_text


if TYPE_CHECKING:
    import msgspec

    from exporter.sources.realload.client import RealLoadClient


async def poll_templates(client: RealLoadClient) -> Poll:
    """Read all job templates, of which only the portal's verdict is kept.

    Raises:
        PollError: The call failed.
    """
    reply = await client.data(actions.TEMPLATES)
    listed = (
        (info.template_id, info.template_name, item)
        for item in reply.testjob_templates_array or ()
        for info in (item.testjob_template or TemplateInfo(),)
    )
    return Poll(
        readings=tuple(
            Template(template_id=template_id, template=name, healthy=item.test_is_healthy)
            for template_id, name, item in wanted_items(client, "templates", listed)
        )
    )


async def poll_certificates(client: RealLoadClient) -> Poll:
    """Read all client certificates of the recorders.

    Raises:
        PollError: The call failed.
    """
    reply = await client.data(actions.CERTIFICATES)
    listed = (
        (item.certificate_id, item.cert_description, item)
        for item in reply.client_certificates_array or ()
    )
    certificates = []
    for certificate_id, name, item in wanted_items(client, "certificates", listed):
        # In a thread, since the derivation of the container's key is slow on purpose.
        not_after = await asyncio.to_thread(_expiry, item.cert_file_data_b64, item.cert_password)
        if not_after is None:
            client.surprise("type")
        certificates.append(
            Certificate(
                certificate_id=certificate_id,
                certificate=name,
                host=item.apply_for_host or "",
                active=flag(item.cert_active),
                not_after_timestamp_seconds=not_after,
            )
        )
    return Poll(readings=tuple(certificates))


def _expiry(container: msgspec.Raw, password: msgspec.Raw) -> float | None:
    """Return when a PKCS#12 container's certificate expires, epoch seconds.

    `None` stands for every container that cannot be opened. Errors end here, since their texts
    and tracebacks could quote what is inside.
    """
    try:
        opened = pkcs12.load_pkcs12(
            base64.b64decode(secret_text(container) or "", validate=True),
            (secret_text(password) or "").encode() or None,
        )
        found = [each.certificate for each in (opened.cert, *opened.additional_certs) if each]
        return found[0].not_valid_after_utc.timestamp() if found else None
    except Exception:  # noqa: BLE001 - the library promises no closed list of errors
        return None
