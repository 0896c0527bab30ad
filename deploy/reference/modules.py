"""Tables of the purposes of modules: the first paragraph of each docstring."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

from deploy.reference.markdown import code, table


_ROOT = Path(__file__).parents[2]
_PACKAGE = _ROOT / "exporter"


def table_of_modules() -> str:
    """Return a table of the package's top-level modules by layers, the highest first.

    Raises:
        LookupError: The contract of the layers names a module that does not exist.
    """
    return table(
        ("Module", "Is for"),
        ((code(path.name + "/" * path.is_dir()), _purpose(path)) for path in map(_path, _layers())),
    )


def list_of_promises() -> str:
    """Return a list of the conformance suite's requirements: a sentence for each module."""
    suite = sorted((_PACKAGE / "conformance" / "suite").glob("test_*.py"))
    return "\n".join(f"- {_purpose(path)}" for path in suite) + "\n"


def _layers() -> list[str]:
    """Return the names in the order of import-linter's contract."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    return [name.strip() for layer in layers for name in layer.split("|")]


def _path(name: str) -> Path:
    for path in (_PACKAGE / name, _PACKAGE / f"{name}.py"):
        if path.exists():
            return path
    raise LookupError(f"the package has no module {name}")


def _purpose(path: Path) -> str:
    source = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")
