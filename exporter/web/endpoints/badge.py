"""Badges for wikis and READMEs: the state of a target or of the fleet, as a small image.

Many people see only the badge, so it is green only for a current good state. An error is a badge,
too, with status 200, because a page shows a broken image or nothing for 404.
"""

from __future__ import annotations

import unicodedata
from http import HTTPStatus
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr  # XML is written, not read: # nosec B406

import msgspec
from starlette.responses import Response

from exporter.overview.rows import Condition, SuiteRow, word
from exporter.overview.verdict import LEVELS, Level, is_ended
from exporter.web.endpoints.answers import entity_tag, unchanged


if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from exporter.overview.interface import View
    from exporter.overview.picture import Picture
    from exporter.overview.rows import TargetRow


#: Longer labels are truncated.
LABEL_CHARACTERS = 64

_UNKNOWN = "unknown"
_NOT_FOUND = "not found"


class Colours(msgspec.Struct, frozen=True):
    """A background and the text on it, with a contrast of at least 4.5 : 1."""

    back: str
    text: str = "#ffffff"


LEFT = Colours("#3d444d")

#: The colours of the right part, by level.
RIGHT: Mapping[Level, Colours] = {
    "good": Colours("#1a7f37"),
    "unsure": Colours("#59636e"),
    "warn": Colours("#ffbf00", "#1f2328"),
    "bad": Colours("#b3141d"),
}

_WORDS: Mapping[Level, str] = {
    "good": "well",
    "unsure": _UNKNOWN,
    "warn": "needs attention",
    "bad": "not well",
}

# Estimated widths of characters in pixels, at a font size of 11 pixels; `textLength` in the SVG
# makes browsers fit the text into the estimated width.
_WIDTHS: Mapping[str, float] = {
    **dict.fromkeys("ijl.,:;'|!I", 3.6),
    **dict.fromkeys(' frt()[]{}/\\-`"*', 4.6),
    **dict.fromkeys("mwMW%@", 10.2),
    **dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ&#+=<>~_", 7.8),
}
_WIDTH, _WIDE, _PADDING, _HEIGHT = 6.6, 11.6, 7, 20

# Categories of characters that XML does not allow, and characters that reverse the text direction.
_LEFT_OUT = frozenset({"Cc", "Cs", "Cn", "Co"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a badge: two parts, and the level that colours the second.

    Attributes:
        details: Additional text for screen readers and the tooltip.
    """

    label: str
    message: str
    level: Level = "unsure"
    details: str = ""


class Badges:
    """The endpoints below `/badge`; none of them ever calls a vendor."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._tag: str | None = None
        self._rows: Mapping[tuple[str, str, str], TargetRow] = {}

    async def target(self, request: Request) -> Response:
        """Return the response with the badge of the target `source`, `kind` and `id`."""
        query = request.query_params
        key = (query.get("source", ""), query.get("kind", ""), query.get("id", ""))
        picture = await self._view.picture()
        if picture.tag != self._tag:
            self._rows = {row.target: row for row in picture.targets}
            self._tag = picture.tag
        row = self._rows.get(key)
        said = self._absent(picture, *key) if row is None else of_target(row, picture)
        return _answer(request, said)

    async def fleet(self, request: Request) -> Response:
        """Return the response with the badge of the whole fleet."""
        return _answer(request, of_fleet(await self._view.picture()))

    def _absent(self, picture: Picture, source: str, kind: str, target_id: str) -> Said:
        """Return the badge of a target without a reading: unknown, or not found if it is gone."""
        found = next((each for each in picture.sources if each.name == source), None)
        label = target_id or "target"
        if found is None or not kind or not target_id:
            return Said(label=label, message=_NOT_FOUND)
        remembered = self._view.recent.of(found.provider, source, kind, target_id).readings()
        complete = all(not (task.unread or task.failing or task.restored) for task in found.tasks)
        known = picture.ready and found.state is Condition.UP and complete
        gone = known and next(remembered, None) is None
        return Said(label=label, message=_NOT_FOUND if gone else _UNKNOWN)


def of_target(row: TargetRow, picture: Picture) -> Said:
    """Return a target's badge: its state in the colour of its worst problem.

    The state is unknown if its reading is from before a restart, or if the source does not answer.
    """
    source = next((each for each in picture.sources if each.name == row.source), None)
    answers = source is not None and source.state is Condition.UP
    name = row.name or row.id
    if row.restored or not answers or not picture.ready:
        return Said(label=name, message=_UNKNOWN)
    message = _word(row)
    level: Level | None = LEVELS.get(row.severity or "")
    if level is None:
        level = _level(row, message)
    return Said(label=name, message=message, level=level, details=", ".join(row.problems))


def _word(row: TargetRow) -> str:
    """Return the state in a word; for a suite that can run, the newest verdict instead."""
    if isinstance(row, SuiteRow) and row.state is not Condition.DOWN:
        if row.last_run_passed is False:
            return "failed"
        if row.state is Condition.UNKNOWN and row.last_run_passed:
            return "passed"
    if row.state is Condition.UP and row.outdated:
        return "outdated"
    return word(row.state, row.kind)


def _level(row: TargetRow, message: str) -> Level:
    """Return the level of a target without a problem of its own."""
    if row.state is Condition.UP and message == word(row.state, row.kind):
        return "good"
    wrong = row.state is Condition.DOWN or message in {"outdated", "failed"}
    return "warn" if wrong and not is_ended(row) else "unsure"


def of_fleet(picture: Picture) -> Said:
    """Return the fleet's badge: the headline in a word."""
    level = picture.headline.level
    if level == "good" and any(row.restored for row in picture.targets):
        level = "unsure"
    return Said(
        label="fleet", message=_WORDS[level], level=level, details=picture.headline.text.rstrip(".")
    )


def drawn(said: Said) -> str:
    """Return a badge as SVG, without style sheets, scripts and external resources."""
    label, message = _shown(said.label), _shown(said.message)
    left, right = width(label), width(message)
    whole = left + right
    title = f"{label}: {message}"
    if said.details:
        title += f" ({_shown(said.details, limit=512)})"
    colours = RIGHT[said.level]
    parts = (
        (label, LEFT, 0, left),
        (message, colours, left, right),
    )
    boxes = "".join(
        f'<rect x="{begin}" width="{size}" height="{_HEIGHT}" fill="{colour.back}"/>'
        for _, colour, begin, size in parts
    )
    texts = "".join(
        f'<text x="{begin + _PADDING}" y="14" fill="{colour.text}" unicode-bidi="isolate"'
        f' textLength="{size - 2 * _PADDING}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        for text, colour, begin, size in parts
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{_HEIGHT}" role="img"'
        f" aria-label={quoteattr(title)}><title>{escape(title)}</title>"
        f'<clipPath id="r"><rect width="{whole}" height="{_HEIGHT}" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)">{boxes}</g>'
        f'<g font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g></svg>\n'
    )


def width(text: str) -> int:
    """Return the estimated width of a part of a badge in pixels, with the padding."""
    return round(sum(map(_width, text))) + 2 * _PADDING


def _width(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return _WIDE
    return _WIDTHS.get(character, _WIDTH)


def _shown(text: str, *, limit: int = LABEL_CHARACTERS) -> str:
    """Return a text in one line, without control characters and changes of the text direction."""
    clean = " ".join(
        "".join(
            " " if unicodedata.category(each) in _LEFT_OUT else each
            for each in text[: 4 * limit]
            if each not in _TURNING
        ).split()
    )
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def _answer(request: Request, said: Said) -> Response:
    label = _shown(request.query_params.get("label", ""))
    body = drawn(msgspec.structs.replace(said, label=label) if label else said).encode()
    headers = {
        "ETag": entity_tag(body),
        # Image proxies, such as GitHub's, have to ask again each time.
        "Cache-Control": "no-cache, max-age=0",
        # Any page may show the badge, also with `Cross-Origin-Embedder-Policy: require-corp`.
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if unchanged(request, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers={**headers, "Content-Type": "image/svg+xml"})
