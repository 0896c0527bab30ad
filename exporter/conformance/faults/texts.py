"""Faults in texts: characters and contents that could break pages, logs or formats."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from exporter.conformance.faults.values import (
    DOUBTED,
    UNKNOWN,
    UNREAD,
    in_place,
    is_text,
    names,
    rewritten,
)


if TYPE_CHECKING:
    from exporter.conformance.faults.values import Write


#: Appended to texts, in JSON's notation between the quotes.
BEHIND = {
    "a blank": " ",
    "a line's end": "\\n",
    "an exposition's line": '\\"} 1\\nplanted_metric{a=\\"b\\"} 1\\n# EOF\\n',
    "a quote": '\\"',
    "a backslash": "\\\\",
    "a backslash and n": "\\\\n",
    "a tab": "\\t",
    "CRLF": "\\r\\nX-Planted: 1\\r\\n",
    "NUL": "\\u0000",
    "ANSI": "\\u001b[31m\\u001b]0;planted\\u0007",
    "C1 controls": "\\u0085\\u009b31m",
    "right to left": "\\u202egnp.exe\\u2066",
    "Hebrew": "\\u05e9\\u05dc\\u05d5\\u05dd",
    "separators": "\\u2028\\u2029",
    "BOM inside": "\\ufeff",
    "no characters": "\\ufffe\\uffff",
    "half a pair": "\\ud800",
    "the other half": "\\udc00",
    "pair the wrong way": "\\udc00\\ud800",
    "emoji": "\\ud83d\\ude00",
    "combining": "e" + "\\u0301" * 200,
    "zero width": "\\u200b\\u200d",
    "10,000 characters": "x" * 10_000,
    "markup": '\\"><img id=planted src=x onerror=alert(1)><script id=planted>1</script>',
    "attribute": "' onmouseover='planted()' x='",
    "end of a script": "</script></style></title></textarea><b id=planted>",
    "template": "{{7*7}}${7*7}{% raw %}<%= 7*7 %>",
    "format": "%s%n%(asctime)s{0}{0.__class__}",
    "path": "/../../etc/passwd",
    "query": "?a=b&c=d#e",
    "percent": "%00%2e%2e%ff",
    "formula": "=cmd|' /C calc'!A0",
    "SQL": "'; DROP TABLE alerts;--",
    "URL": "javascript:alert(1)",
}

#: JSON in place of texts.
NO_TEXTS = {
    "empty": '""',
    "blanks": '"   "',
    "number": "12",
    "2^64": "18446744073709551616",
    "true": "true",
    "null": "null",
    "list": '["a"]',
    "object": '{"a":"b"}',
    "dots": '".."',
    "the word null": '"null"',
    "64 kB": '"' + "y" * 64_000 + '"',
}

#: Appended to texts: bytes that are not valid UTF-8.
NO_UTF8 = {
    "a lone byte": b"\xff",
    "overlong": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "half a character": b"\xe2\x82",
    "beyond Unicode": b"\xf4\x90\x80\x80",
}


def _behind(text: str, *, everywhere: bool = False) -> Write:
    """Append a text, in JSON's notation, to all texts; to names and ids only if `everywhere`."""

    def write(key: str, value: Any) -> str | None:
        if not is_text(value) or (names(key) and not everywhere):
            return None
        return f'{json.dumps(value)[:-1]}{text}"'

    return write


def _broken_text(data: bytes) -> Write:
    text = data.decode(errors="surrogateescape")
    return _behind(text)


TEXTS = (
    *(
        rewritten(f"texts: {name}", "text", _behind(text), None, also=DOUBTED)
        for name, text in BEHIND.items()
    ),
    *(
        rewritten(
            f"texts and names: {name}",
            "text",
            _behind(text, everywhere=True),
            None,
            also=UNKNOWN,
            renames=True,
        )
        for name, text in BEHIND.items()
    ),
    *(
        rewritten(f"texts: {name}", "text", in_place(token, is_text), None, also=UNREAD)
        for name, token in NO_TEXTS.items()
    ),
    *(
        rewritten(
            f"texts and names: {name}",
            "text",
            in_place(token, is_text, everywhere=True),
            None,
            also=UNKNOWN,
            renames=True,
        )
        for name, token in NO_TEXTS.items()
    ),
    *(
        rewritten(f"texts: {name}", "text", _broken_text(data), None, also=UNREAD)
        for name, data in NO_UTF8.items()
    ),
)
