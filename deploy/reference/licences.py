"""A table of the licences of all installed dependencies, from the packages' metadata."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement

from deploy.reference.markdown import code, table


_RUNTIME = Path(__file__).parents[2] / "deploy" / "image" / "runtime.txt"

#: SPDX expressions of packages whose metadata have none; taken from their licence files.
_STATED_ELSEWHERE = {
    "aiosignal": "Apache-2.0",
    "async-timeout": "Apache-2.0",
    "jinja2": "BSD-3-Clause",
    "tzdata": "Apache-2.0",
    "uvloop": "MIT OR Apache-2.0",
}


def table_of_licences() -> str:
    """Return a table of the image's packages with their licences."""
    return table(
        ("Package", "Licence"), ((code(name), code(text)) for name, text in licences().items())
    )


def licences() -> dict[str, str]:
    """Return the SPDX expression of each package of the image, including those for other systems.

    Raises:
        LookupError: The metadata of a package have no licence that SPDX knows.
    """
    lines = _RUNTIME.read_text(encoding="utf-8").splitlines()
    pinned = [line.partition(" \\")[0] for line in lines if line[:1].isalnum()]
    return {name: _licence(name) for name in (Requirement(each).name for each in pinned)}


def _licence(name: str) -> str:
    if name in _STATED_ELSEWHERE:
        return _STATED_ELSEWHERE[name]
    stated = metadata.metadata(name)
    for key in ("License-Expression", "License"):
        try:
            return canonicalize_license_expression(stated[key] or "")
        except InvalidLicenseExpression:
            continue
    raise LookupError(f"{name} states no licence in its metadata; read its licence file")
