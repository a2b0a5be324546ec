"""YAML of others: bounded in size, depth and aliases; every mistake is one clear :class:`InputError`."""

from pathlib import Path
from typing import Any

import yaml

from purespike.errors import InputError

MAX_BYTES, MAX_DEPTH, MAX_NODES = 1_000_000, 64, 100_000
"""Limits of a text: its size, its depth of nesting, and its values, those that aliases repeat included."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """A safe loader that refuses a key given twice, and numbers to the base 60."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        raise InputError(f"the key {key.value[:80]!r} is given twice (line {line})")
                    seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # YAML 1.1 takes 12:30:45 for 45045
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and ":" in node.value:
            raise InputError(f"{node.value[:80]!r}: is no number; quote it if it is text")
        return super().construct_object(node, deep)


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, of plain types alone.

    Raises:
        InputError: not YAML, a key given twice, or a text beyond the limits.
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"longer than {MAX_BYTES:,} characters, the limit of a YAML text")
    try:
        # the compiled parser recurses without a limit of its own: nesting is checked first, event by event
        depth = 0
        for event in yaml.parse(text, Loader=_Base):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise InputError(f"nested more than {MAX_DEPTH} levels deep")
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _size(node, {}) > MAX_NODES:
                raise InputError(f"aliases make more than {MAX_NODES:,} values of it")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"not YAML: {' '.join(str(error).split())[:300]}") from error


def read_yaml(path: str | Path) -> Any:
    """The value in a YAML file.

    Raises:
        InputError: missing or unreadable, or as :func:`parse_yaml` raises; the message names the file.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a file")
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"larger than {MAX_BYTES:,} bytes, the limit of a YAML file")
        return parse_yaml(content.decode("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a YAML file: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Number of values below ``node``, each alias counted as what it repeats."""
    if id(node) in known:
        # an alias inside its own anchor has no end
        return known[id(node)]
    known[id(node)] = MAX_NODES + 1
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    pairs = isinstance(node, yaml.MappingNode)
    size = 1 + sum(_size(part, known) for each in children for part in (each if pairs else (each,)))
    known[id(node)] = size
    return size
