"""Reader of the YAML configuration file. Its error texts never quote a line of the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from exporter.config import files
from exporter.config.validation import model_of, plain
from exporter.errors import ConfigurationError


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pydantic import BaseModel


LIMIT_BYTES = 1 << 20

#: Maximum number of values in a file, with aliases expanded: a few lines with aliases can expand
#: to billions of values.
LIMIT_VALUES = 100_000

#: Characters that YAML escapes can produce but no path, header or page can contain.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


def read(path: Path, *, limit_bytes: int = LIMIT_BYTES, pipe: bool = False) -> bytes:
    """Return the content of a configuration file.

    Args:
        path: The file's path.
        limit_bytes: The maximum size.
        pipe: Whether the file may be a pipe, which can be read only once.

    Raises:
        ConfigurationError: The file cannot be read or is too large.
    """
    try:
        if not files.is_pipe(path):
            return files.read(path, limit_bytes=limit_bytes).content
        if pipe:
            return files.read_pipe(path, limit_bytes=limit_bytes)
    except files.FileError as error:
        raise ConfigurationError([f"{path}: cannot be read ({error}); {error.remedy}"]) from error
    raise ConfigurationError([f"{path}: is a pipe and cannot be read again; name a file"])


def folder_of(path: Path | None) -> Path:
    """Return the folder to which paths in a configuration file are relative."""
    return Path() if path is None or files.is_pipe(path) else path.parent


def parse(content: bytes, *, name: str, begun: Collection[str] = ()) -> dict[str, Any]:
    """Return the plain data of a YAML file; an empty file is an empty mapping.

    Keys without a value count as not given and are left out.

    Args:
        content: The file's content.
        name: The name of the file in messages.
        begun: Top-level keys that without a value are an empty mapping.

    Raises:
        ConfigurationError: The file is no valid YAML mapping. All duplicate keys are reported
            together.
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
        # The parser's own text is not used: it quotes the line, which may contain a secret.
        why = _position(error.problem_mark) + _remedy(error, text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        why = f"line {line}: holds a character that YAML does not allow; remove control characters"
    except RecursionError:
        why = "is nested too deeply; flatten it"
    else:
        if data is None:
            return {}
        if not isinstance(data, dict):
            why = "must be a mapping of keys to values at its top"
        elif not all(isinstance(key, str) for key in data):
            why = "a key at its top is not text; put it in quotes"
        else:
            given: dict[str, Any] = _given(data)
            return given | {key: {} for key in begun if key in data and data[key] is None}
    raise ConfigurationError([f"{name}: {why}"])


def absolute(model: type[BaseModel], raw: Any, folder: Path) -> Any:
    """Return a file's data with absolute paths; relative ones are resolved from the folder.

    The types of the model's fields show which values are paths.
    """
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


class _Loader(yaml.SafeLoader):
    """The safe loader, with the position of a value that it cannot read."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
            raise _UnreadableError(problem_mark=node.start_mark) from None


class _UnreadableError(yaml.MarkedYAMLError):
    """A value does not have the type that its tag or form implies."""


def _load(text: str, name: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        mistakes = _mistakes(node, name)
        if mistakes:
            raise ConfigurationError(mistakes)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _mistakes(root: yaml.Node, name: str) -> list[str]:
    """Return error texts for mistakes that YAML's loader would accept silently.

    Raises:
        ConfigurationError: With its aliases expanded, the document has too many values.
    """
    sizes: dict[int, int] = {}  # 0 while the values within the node are counted
    found: list[tuple[yaml.Node, str]] = []

    def size(node: yaml.Node) -> int:
        known = sizes.setdefault(id(node), -1)
        if known == 0:
            where = _position(node.start_mark)
            raise ConfigurationError(
                [f"{name}: {where}an alias refers to a value that contains it; remove it"]
            )
        if known < 0:
            sizes[id(node)] = 0
            inner: list[yaml.Node] = []
            if isinstance(node, yaml.SequenceNode):
                inner = node.value
            elif isinstance(node, yaml.MappingNode):
                inner = [each for pair in node.value for each in pair]
                _keep_words(node)
                found.extend(_repeated(node))
            elif _UNUSABLE.search(node.value):
                found.append((node, "holds a NUL or half of a character; write the character"))
            sizes[id(node)] = 1 + sum(size(each) for each in inner)
        return sizes[id(node)]

    if size(root) > LIMIT_VALUES:
        raise ConfigurationError(
            [f"{name}: has more than {LIMIT_VALUES} values, aliases expanded; shorten it"]
        )
    return [
        f"{name}: {_position(node.start_mark)}{text}"
        for node, text in sorted(found, key=lambda each: each[0].start_mark.index)
    ]


def _keep_words(node: yaml.MappingNode) -> None:
    """Treat keys such as `off` as text, which YAML 1.1 reads as booleans."""
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag == "tag:yaml.org,2002:bool":
            key.tag = "tag:yaml.org,2002:str"


def _repeated(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, str]]:
    keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    first = {key.value: key for key in reversed(keys)}
    for key in keys:
        if key is not first[key.value]:
            yield key, f"the key {key.value} is given for the second time; remove one"


def _given(data: Any) -> Any:
    """Return data without keys that have no value, which count as not given."""
    if isinstance(data, dict):
        return {key: _given(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [_given(value) for value in data]
    return data


def _position(mark: yaml.error.Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _remedy(error: yaml.MarkedYAMLError, text: str) -> str:
    if isinstance(error, _UnreadableError):
        return "a date, number or tag that cannot be read; put text in quotes"
    if error.context == "expected a single document in the stream":
        return "a second document begins; keep one"
    if isinstance(error, yaml.composer.ComposerError):
        return "an alias has no anchor, or an anchor has two; put text that begins with * in quotes"
    if isinstance(error, yaml.constructor.ConstructorError):
        return "a tag, or a key that is no text; put text that begins with ! in quotes"
    if (mark := error.problem_mark) and "\t" in [*text.splitlines(), ""][mark.line]:
        return "is not valid YAML; the line contains a tab, use spaces"
    return "is not valid YAML; check the indentation, colons and quotes here and above"
