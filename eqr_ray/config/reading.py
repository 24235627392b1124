"""From a YAML file, `--set key=value` and command-line options to one checked configuration.

Invariants, asserted in tests/unit/test_config.py: an explicit option wins over `--set`, which wins over the file; a key
that does not exist is refused and the nearest existing key is named, a key given twice is refused; every refusal is one
`InputError` sentence; `1e-4` is a number.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from eqr_ray.config.refusal import sentence
from eqr_ray.types import InputError

MOST_BYTES = 1_000_000
"""A configuration larger than this is some other file given by mistake."""


class Config(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, no infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)

    def dump(self) -> str:
        """Return the resolved configuration as indented JSON, as it is written beside the results."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


C = TypeVar("C", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-4` is a number and a repeated key is an error."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _mapping_without_repeats(loader: _Loader, node: yaml.MappingNode) -> dict[str, object]:
    loader.flatten_mapping(node)
    mapping: dict[str, object] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"a key must be text, got {key!r}", key_node.start_mark)
        if key in mapping:
            raise yaml.constructor.ConstructorError(None, None, f"the key `{key}` is given twice", key_node.start_mark)
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


def parse_yaml(text: str, where: str) -> object:
    """Return the value of a YAML text; InputError with `where` and the line if it cannot be read."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{where}{line}: not valid YAML: {error.problem}; correct the line") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(
            f"{where}: not valid YAML: {_first_line(error)}; give a text file of `key: value` lines"
        ) from None


def read_mapping(path: str | Path) -> dict[str, object]:
    """Return the mapping that a YAML (or JSON) file holds; an empty file is an empty mapping."""
    file = Path(path)
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(
                f"{path}: a configuration has at most {MOST_BYTES} bytes, got {file.stat().st_size}; give a YAML file"
            )
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: a configuration is UTF-8 text, got other bytes; give a YAML file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration: {error.strerror or error}; check the path") from None
    value = parse_yaml(text, str(path))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(
            f"{path}: a configuration holds `key: value` lines, got {type(value).__name__}; see configs/ for examples"
        )
    return value


def load_into(
    model: type[C], path: str | Path | None, overrides: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> C:
    """Return a `model` from a YAML file, `key.sub=value` overrides and options, each winning over the one before.

    `options` maps dotted keys to values; None means that the option was not given. Raises InputError, one sentence.
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    if path is not None:
        for key, value in _leaves(_expand(model, read_mapping(path))):
            _put(values, key, value)
            origins[key] = str(path)
    for text in overrides:
        key, value = _parse_override(text)
        for sub, leaf in _leaves(_expand(model, _nest(key, value))):
            _put(values, sub, leaf)
            origins[sub] = f"--set {text}"
    for key, value in (options or {}).items():
        if value is not None:
            _put(values, key, value)
            origins[key] = ""
    for key in origins:
        _refuse_unknown(model, key, origins[key])
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError(sentence(error, model, origins)) from None


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a configuration, groups included."""
    for name, field in model.model_fields.items():
        yield prefix + name
        group = _group(field.annotation)
        if group is not None:
            yield from keys_of(group, f"{prefix}{name}.")


def _group(annotation: object) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _expand(model: type[BaseModel], values: dict[str, object]) -> dict[str, object]:
    """Write a group given by its name alone in full: `policy: fixed` is `policy: {name: fixed}`."""
    full = dict(values)
    for name, field in model.model_fields.items():
        group = _group(field.annotation)
        if group is not None and "name" in group.model_fields and isinstance(full.get(name), str):
            full[name] = {"name": full[name]}
    return full


def _refuse_unknown(model: type[BaseModel], key: str, origin: str) -> None:
    known = list(keys_of(model))
    open_groups = [name for name in known if _is_open(model, name)]
    if key in known or any(key.startswith(f"{name}.") for name in open_groups):
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5) or [
        name for name in known if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]
    ]
    hint = f"did you mean `{near[0]}`?" if near else f"the keys are {', '.join(sorted(known))}"
    where = f"{origin}: " if origin else ""
    raise InputError(f"{where}unknown key `{key}`; {hint}")


def _is_open(model: type[BaseModel], key: str) -> bool:
    """Whether a key holds a mapping whose own keys are somebody else's to check."""
    first, _, rest = key.partition(".")
    field = model.model_fields[first]
    if not rest:
        return "dict[" in str(field.annotation)
    group = _group(field.annotation)
    return group is not None and _is_open(group, rest)


def _parse_override(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise InputError(f"--set takes key=value or key.sub=value, got {text!r}; for example --set policy.depth=64")
    return key, parse_yaml(value, f"--set {key}")


def _nest(key: str, value: object) -> dict[str, object]:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _leaves(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _put(values: dict[str, object], key: str, value: object) -> None:
    *groups, last = key.split(".")
    for group in groups:
        inner = values.get(group)
        if not isinstance(inner, dict):
            inner = values[group] = {}
        values = inner
    values[last] = value


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
