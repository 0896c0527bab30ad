"""Find the form of the page that a client takes, and name no more than is sent."""

from __future__ import annotations

import re
from functools import lru_cache

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder

from exporter.metrics.exposition.body import Format


_OPENMETRICS = "application/openmetrics-text"
_VERSION = re.compile(r"version=[^;]*")

# A parameter `q` that refuses what it stands behind.
_REFUSED = re.compile(r"q\s*=\s*0?\.?0*")


# Few programs ask, each time in the same words, and to read them takes as long as to send a page.
_remembered = lru_cache(maxsize=32)


@_remembered
def negotiate(accept: str) -> tuple[Format, str]:
    """Return the format of a page and its content type.

    As prometheus-client does, except in three things. Names are never escaped: none needs it, and
    so they are always as documented. OpenMetrics is written and labelled as 1.0.0: a client that
    names a newer version gets what else it takes, and if that is nothing, 1.0.0. What has the
    weight zero is refused.

    Args:
        accept: The request's `Accept` header.
    """
    # The client knows neither capitals nor quoted values.
    ranges = [part.strip() for part in accept.lower().replace('"', "").split(",")]
    taken = [part for part in ranges if not _is_refused(part)]
    known = [part for part in taken if not _is_newer(part)]
    try:
        _, content_type = choose_encoder(",".join(known or taken))
    except TypeError:
        # The client compares versions number by number and trips over one that is none.
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
    """Return whether a client takes what is not packed, by its `Accept-Encoding` header."""
    return _accepted(accept_encoding)[1]


@_remembered
def _accepted(accept_encoding: str) -> tuple[bool, bool]:
    """Return whether gzip and no coding are accepted (RFC 9110, 12.5.3).

    Where no coding is refused, gzip is better than no answer, unless it is refused as well.
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
    """Return whether a media range is OpenMetrics that one of 1.0.0 is not."""
    kind, *parameters = (each.strip() for each in part.split(";"))
    versions = (each.partition("=")[2] for each in parameters if each.startswith("version="))
    major = next(versions, "").partition(".")[0]
    return kind == _OPENMETRICS and major.isdecimal() and int(major[:9]) > 1
