"""What each module is for, in its own words: the first sentence of its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

from deploy.reference.markdown import code, table


_ROOT = Path(__file__).parents[2] / "exporter"


def table_of_modules(folder: str = "") -> str:
    """List the modules and packages of a folder of the package.

    Raises:
        LookupError: There are none.
    """
    top = _ROOT / folder
    files = {path: path.relative_to(top).as_posix() for path in sorted(top.glob("*.py"))}
    packages = {
        path: f"{path.parent.relative_to(top).as_posix()}/"
        for path in sorted(top.glob("*/__init__.py"))
    }
    return table(
        ("Module", "Is for"),
        (
            (code(name), _purpose(path))
            for path, name in {**packages, **files}.items()
            if path != top / "__init__.py"
        ),
    )


def _purpose(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0]
