"""The configuration file: from bytes to plain data, without ever quoting a line of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from exporter.config.validation import model_of, plain
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel


LIMIT_BYTES = 1 << 20

#: Values in a file, counted as often as aliases repeat them: a few lines can stand for billions.
LIMIT_VALUES = 100_000

_Mark = yaml.error.Mark


def read(path: Path) -> bytes:
    """Read a configuration file, once.

    Raises:
        ConfigurationError: It cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "not a usable path"
        raise ConfigurationError(
            [f"{path}: cannot be read ({why}); correct the path or its rights"]
        ) from error
    if len(content) > LIMIT_BYTES:
        raise ConfigurationError([f"{path}: is larger than 1 MiB; name a configuration file"])
    return content


def parse(content: bytes, *, name: str) -> dict[str, Any]:
    """Parse YAML into plain data; an empty file is an empty mapping.

    Keys without a value are left out: they count as not given.

    Args:
        content: The file as it was read.
        name: What messages call it.

    Raises:
        ConfigurationError: It is no such file; all doubled keys are named at once.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            [f"{name}: byte {error.start} is not UTF-8; save the file as UTF-8"]
        ) from None
    try:
        data = _load(text, name)
    except yaml.MarkedYAMLError as error:
        # From None: the text of YAML's own error quotes the line, which may hold a secret.
        raise ConfigurationError([_place(name, error.problem_mark) + _remedy(error)]) from None
    except yaml.YAMLError:
        raise ConfigurationError(
            [f"{name}: holds a character that YAML does not allow; remove control characters"]
        ) from None
    except RecursionError:
        raise ConfigurationError([f"{name}: is nested too deeply; flatten it"]) from None
    except (ValueError, TypeError, OverflowError, AttributeError):
        raise ConfigurationError(
            [f"{name}: holds a date, number or tag that cannot be read; put text in quotes"]
        ) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigurationError([f"{name}: must be a mapping of keys to values at its top"])
    if not all(isinstance(key, str) for key in data):
        raise ConfigurationError([f"{name}: a key at its top is not text; put it in quotes"])
    given: dict[str, Any] = _given(data)
    return given


def absolute(model: type[BaseModel], raw: Any, folder: Path) -> Any:
    """Return a file's data in which relative paths, by their fields' types, count from a folder."""
    if isinstance(raw, list):
        return [absolute(model, each, folder) for each in raw]
    if not isinstance(raw, dict):
        return raw
    result = dict(raw)
    for key in raw.keys() & model.model_fields.keys():
        annotation = model.model_fields[key].annotation
        inner = model_of(annotation)
        if inner is not None:
            result[key] = absolute(inner, raw[key], folder)
        elif plain(annotation) is Path and isinstance(raw[key], str):
            result[key] = str(folder / raw[key])
    return result


def _load(text: str, name: str) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, name)
        doubled = [
            f"{_place(name, mark)}the key {key} stands here for the second time; remove one"
            for key, mark in sorted(_doubled(node, set()), key=lambda pair: pair[1].index)
        ]
        if doubled:
            raise ConfigurationError(doubled)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _measure(root: yaml.Node, name: str) -> None:
    """Refuse what would grow without bounds once its aliases are followed."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        key = id(node)
        if key in open_nodes:
            raise ConfigurationError(
                [f"{_place(name, node.start_mark)}an alias refers to what it stands in; remove it"]
            )
        if key not in sizes:
            open_nodes.add(key)
            sizes[key] = 1 + sum(size(child) for child in _children(node))
            open_nodes.remove(key)
        return sizes[key]

    if size(root) > LIMIT_VALUES:
        raise ConfigurationError(
            [f"{name}: holds more than {LIMIT_VALUES} values, aliases counted; shorten it"]
        )


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _doubled(node: yaml.Node, visited: set[int]) -> Iterator[tuple[str, _Mark]]:
    """Yield the keys that a mapping holds twice; YAML's loader would take the last silently."""
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key.value, key.start_mark
                seen.add(key.value)
    for child in _children(node):
        yield from _doubled(child, visited)


def _given(data: Any) -> Any:
    """Drop keys without a value, which only stand for `nothing said`."""
    if isinstance(data, dict):
        return {key: _given(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [_given(value) for value in data]
    return data


def _place(name: str, mark: _Mark | None) -> str:
    return f"{name}: line {mark.line + 1}, column {mark.column + 1}: " if mark else f"{name}: "


def _remedy(error: yaml.MarkedYAMLError) -> str:
    if error.context == "expected a single document in the stream":
        return "a second document begins; keep one"
    if isinstance(error, yaml.composer.ComposerError):
        return "an alias has no anchor, or an anchor has two; put text that begins with * in quotes"
    if isinstance(error, yaml.constructor.ConstructorError):
        return "a tag, or a key that is no text; put text that begins with ! in quotes"
    return "is not valid YAML; look at the indentation, colons and quotes here and above"
