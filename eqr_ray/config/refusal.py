"""A failed validation as one sentence: which key, the rule, the value, where it was set, what to give instead."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_RULES = {
    "missing": "must be given",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "literal_error": "must be one of {expected}",
    "model_type": "must be a group of keys",
    "dict_type": "must be a group of keys",
}
_SCALARS = frozenset({"int", "float", "str", "bool"})
"""Names of the branches of a union of plain values, as pydantic puts them into a location."""


def sentence(error: ValidationError, model: type[BaseModel], origins: Mapping[str, str]) -> str:
    """Return the first thing that is wrong as rule + value + remedy; what is missing comes after what is there and wrong."""
    first = min(error.errors(include_url=False), key=lambda details: details["type"] == "missing")
    key = _key(first["loc"], model)
    origin = origins.get(key, "")
    where = f"{origin}: " if origin else ""
    if first["type"] == "value_error" and "error" in first.get("ctx", {}):
        return f"{where}{key}: {first['ctx']['error']}"
    if any(part in _SCALARS for part in first["loc"]):
        return f"{where}{key} must be a number, text, true or false, got {key}={_short(first['input'])}; give one value"
    rule = _RULES.get(first["type"], first["msg"][:1].lower() + first["msg"][1:]).format(**_context(first))
    got = "" if first["type"] == "missing" else f", got {key}={_short(first['input'])}"
    remedy = _description(model, key)
    return f"{where}{key} {rule}{got}" + (f"; {key} is {remedy}" if remedy else "")


def _key(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return the dotted key of a pydantic location, without the names of the branches of a union."""
    parts: list[str] = []
    for part in location:
        if isinstance(part, str) and part.isidentifier() and part not in _SCALARS:
            parts.append(part)
    return ".".join(parts) or model.__name__


def _context(details: ErrorDetails) -> dict[str, object]:
    return {name: value for name, value in details.get("ctx", {}).items() if name != "error"}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _description(model: type[BaseModel], key: str) -> str:
    """Return the one-line description of a key, the words that say what may be given there."""
    first, _, rest = key.partition(".")
    field = model.model_fields.get(first)
    if field is None:
        return ""
    if not rest:
        return field.description or ""
    inner = field.annotation
    return _description(inner, rest) if isinstance(inner, type) and issubclass(inner, BaseModel) else ""
