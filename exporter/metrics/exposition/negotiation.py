"""Content negotiation: the format and encoding of the page for a client."""

from __future__ import annotations

import re
from functools import lru_cache

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder

from exporter.metrics.exposition.body import Format


_OPENMETRICS = "application/openmetrics-text"
_VERSION = re.compile(r"version=[^;]*")

# A parameter `q` of weight zero, which refuses its media type or coding.
_REFUSED = re.compile(r"q\s*=\s*0?\.?0*")


# Clients repeat the same few headers, and parsing one takes as long as sending a page.
_remembered = lru_cache(maxsize=32)


@_remembered
def negotiate(accept: str) -> tuple[Format, str]:
    """Return the format of a page and its content type.

    The choice is that of prometheus-client, with three exceptions. Names are never escaped, since
    none needs it. OpenMetrics is always version 1.0.0: a client that asks for a newer version gets
    another format that it accepts, or else 1.0.0. A format with weight zero is refused.

    Args:
        accept: The request's `Accept` header.
    """
    # prometheus-client understands neither capitals nor quoted values.
    ranges = [part.strip() for part in accept.lower().replace('"', "").split(",")]
    taken = [part for part in ranges if not _is_refused(part)]
    known = [part for part in taken if not _is_newer(part)]
    try:
        _, content_type = choose_encoder(",".join(known or taken))
    except TypeError:
        # prometheus-client fails on a version that is no number.
        content_type = CONTENT_TYPE_PLAIN_0_0_4
    kind, escaping, scheme = content_type.partition("; escaping=")
    if not kind.startswith(_OPENMETRICS):
        form = Format.TEXT
    else:
        form, kind = Format.OPENMETRICS, _VERSION.sub("version=1.0.0", kind)
    if scheme not in ("", "allow-utf-8"):
        scheme = "underscores"
    return form, f"{kind}{escaping}{scheme}"


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether to send gzip to a client, by its `Accept-Encoding` header."""
    return _accepted(accept_encoding)[0]


def accepts_plain(accept_encoding: str) -> bool:
    """Return whether a client accepts an uncompressed body, by its `Accept-Encoding` header."""
    return _accepted(accept_encoding)[1]


@_remembered
def _accepted(accept_encoding: str) -> tuple[bool, bool]:
    """Return whether gzip is accepted, and whether an uncompressed body is (RFC 9110, 12.5.3).

    If a client refuses an uncompressed body, gzip counts as accepted unless it is refused too.
    """
    codings = {
        part.partition(";")[0].strip(): not _is_refused(part)
        for part in accept_encoding.lower().split(",")
    }
    others = codings.get("*")
    plain = codings.get("identity", others is not False)
    packed = codings.get("gzip", not plain if others is None else others)
    return packed, plain


def _is_refused(part: str) -> bool:
    return any(_REFUSED.fullmatch(parameter.strip()) for parameter in part.split(";")[1:])


def _is_newer(part: str) -> bool:
    """Return whether a media range asks for OpenMetrics in a newer version than 1.x."""
    kind, *parameters = (each.strip() for each in part.split(";"))
    versions = (each.partition("=")[2] for each in parameters if each.startswith("version="))
    major = next(versions, "").partition(".")[0]
    return kind == _OPENMETRICS and major.isdecimal() and int(major[:9]) > 1
