"""Client certificates of the recorders (reference section 3.5).

Their expiry stands only inside the container that holds the private key, so the container has to
be opened. That happens in a function that keeps nothing but a time stamp.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import pkcs12

from exporter.fleet.readings import Certificate
from exporter.sources.base import Poll
from exporter.sources.realload import actions
from exporter.sources.realload.values import flag, text


if TYPE_CHECKING:
    import msgspec

    from exporter.sources.realload.portal import Portal


class Certificates:
    """The certificates of an account."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    async def poll(self) -> Poll:
        """Read all certificates.

        Raises:
            PollError: The call failed.
        """
        reply = await self._portal.client.data(actions.CERTIFICATES)
        certificates: dict[str, Certificate] = {}
        for item in reply.client_certificates_array or ():
            if item.certificate_id is None:
                self._portal.surprise("missing_field")
                continue
            certificate_id = str(item.certificate_id)
            name = item.cert_description or certificate_id
            if certificate_id in certificates:
                self._portal.surprise("type")
            elif self._portal.settings.wanted("certificates", name):
                # In a thread, since the derivation of the container's key is slow on purpose.
                not_after = await asyncio.to_thread(
                    _expiry, item.cert_file_data_b64, item.cert_password
                )
                if not_after is None:
                    self._portal.surprise("type")
                certificates[certificate_id] = Certificate(
                    certificate_id=certificate_id,
                    certificate=name,
                    host=item.apply_for_host or "",
                    active=flag(item.cert_active),
                    not_after_timestamp_seconds=not_after,
                )
        return Poll(readings=tuple(certificates.values()))


def _expiry(container: msgspec.Raw, password: msgspec.Raw) -> float | None:
    """Return when a PKCS#12 container's certificate expires, epoch seconds.

    `None` stands for every container that cannot be opened. Errors end here, since their texts
    and tracebacks could quote what is inside.
    """
    try:
        opened = pkcs12.load_pkcs12(
            base64.b64decode(text(container) or "", validate=True),
            (text(password) or "").encode() or None,
        )
        found = [each.certificate for each in (opened.cert, *opened.additional_certs) if each]
        return found[0].not_valid_after_utc.timestamp() if found else None
    except Exception:  # noqa: BLE001 - the library promises no closed list of errors
        return None
