"""A source sends its credentials only to the vendor."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

from exporter.conformance.trial import Trial


if TYPE_CHECKING:
    from pathlib import Path

    from exporter.conformance.candidate import Candidate


async def test_nothing_is_sent_to_an_untrusted_server(
    candidate: Candidate, ca_file: str, tmp_path: Path
) -> None:
    """A server with a certificate of another authority receives no request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    sources = {candidate.name: candidate}

    async with Trial(sources, tmp_path, tls=context, ca_file=ca_file, timeout="4s") as trial:
        await trial.poll()

        assert [] == trial.only.front.seen
        assert {"tls"} == {*trial.failures()[candidate.name]} - {"blocked"}
