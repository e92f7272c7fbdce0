"""What is wrong in a configuration, one line a fault: place, key, value, what is wanted (MR005)."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from msgrun.errors import ConfigError
from msgrun.suggest import did_you_mean, nearest

Key = tuple[str | int, ...]
"""A dotted key, part by part; a number is an index into a list."""

_SECRET: Final = re.compile(r"pass|pwd|secret|token|credential|keyring|api_?key", re.IGNORECASE)
_URL_PASSWORD: Final = re.compile(r"((?:://|^(?!.*://))[^:/]*:).*@")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_MOST_SHOWN: Final = 60

_WANTED: Final = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text in quotes",
    "tuple_type": 'must be a list, as in ["a", "b"]',
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must not hold a NUL character",
    "too_short": "must not be empty",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


def config_error(lines: Iterable[str]) -> ConfigError:
    """Return the one error that lists every fault, one a line, safe for a terminal."""
    text = "\n".join(_printable(line) for line in lines)
    return ConfigError(text, "correct this, then try again; `msgrun explain MR005` says more")


def fault(place: str, key: Key, value: object, wanted: str) -> str:
    """Return the line of one fault: where it stands, its key as written, its value, what is wanted.

    Values of keys that look like secrets, whole tables and absent values (None) are left out.
    """
    return f"{place}: {dotted(key)}{_shown(key, value)}: {wanted}"


def validation_faults(
    error: ValidationError, model: type[BaseModel], origins: Mapping[Key, str], place: str
) -> list[str]:
    """Return a line for each fault that pydantic found.

    Args:
        error: what pydantic raised.
        model: the model that was to be filled.
        origins: the environment variable that a key (in small letters) came from.
        place: the file that all other keys came from.
    """
    return [
        fault(_origin(details["loc"], origins) or place, details["loc"], *_wanted(details, model))
        for details in error.errors(include_url=False)
    ]


def dotted(key: Key) -> str:
    """Return a key as TOML writes it, e.g. `servers.default.port` or `definitions.a.bcc[0]`."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{bare}" if text else bare
    return text


def annotation_at(model: type[BaseModel], key: Sequence[str | int]) -> Any:
    """Return the type of the setting at `key`; None if there is no such setting."""
    annotation: Any = model
    for part in key:
        if (fields := _fields(annotation)) is not None:
            annotation = fields[str(part)].annotation if str(part) in fields else None
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif get_origin(annotation) is tuple:
            annotation = get_args(annotation)[0]
        else:
            return None
    return annotation


def setting_keys(model: type[BaseModel], raw: object, above: Key = ()) -> Iterable[Key]:
    """Yield the key of every setting that can be given, with the names that `raw` has."""
    for name, field in model.model_fields.items():
        key = (*above, name)
        here = raw.get(name) if isinstance(raw, dict) else None
        if _fields(field.annotation) is not None:
            yield from setting_keys(field.annotation, here, key)  # type: ignore[arg-type]
        elif get_origin(field.annotation) is dict and _fields(get_args(field.annotation)[1]):
            for child, value in here.items() if isinstance(here, dict) else ():
                yield from setting_keys(get_args(field.annotation)[1], value, (*key, child))
        else:
            yield key


def _fields(annotation: Any) -> dict[str, FieldInfo] | None:
    """Return the fields of a model class, None for any other type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_fields
    return None


def _origin(key: Key, origins: Mapping[Key, str]) -> str | None:
    """Return the environment variable that set `key` or the table it stands in."""
    folded = tuple(part.lower() if isinstance(part, str) else part for part in key)
    return next(
        (origins[folded[:end]] for end in range(len(key), 0, -1) if folded[:end] in origins), None
    )


def _wanted(details: ErrorDetails, model: type[BaseModel]) -> tuple[object, str]:
    """Return the value to show and what is wanted instead of it."""
    kind, value, key = details["type"], details["input"], details["loc"]
    fields = _fields(annotation_at(model, key[:-1])) or {}
    if kind == "missing":
        return None, f"missing; {fields[str(key[-1])].description}"
    if kind == "extra_forbidden":
        hint = did_you_mean(str(key[-1]), fields)
        # Under a mistyped name of a secret there may well be one.
        shown = None if _SECRET.search(hint) else value
        return shown, "unknown " + ("section; " if len(key) == 1 else "key; ") + hint
    context = details.get("ctx", {})
    text = _WANTED[kind].format(**context) if kind in _WANTED else details["msg"]
    if kind == "literal_error" and isinstance(value, str):
        near = nearest(value, re.findall(r"'([^']*)'", str(context["expected"])), 1)
        text += "".join(f"; did you mean {name!r}?" for name in near)
    return value, text


def _shown(key: Key, value: object) -> str:
    """Return ` = value` as TOML writes it, or nothing where it must not or need not be seen."""
    names = [part for part in key if isinstance(part, str)]
    hidden = any(map(_SECRET.search, names[-1:])) or names == ["notify", "url"]
    if value is None or isinstance(value, dict) or hidden:
        return ""
    if isinstance(value, str) and ("://" in value or names[-1:] == ["url"]):
        # Everything after `?` may be a password too.
        value = _URL_PASSWORD.sub(r"\1***@", value).split("?", 1)[0]
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f" = {text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + '…'}"


def _printable(line: str) -> str:
    """Return `line` with control, bidi and other invisible characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
