"""Environment variables that override settings: `MSGRUN_SERVERS__DEFAULT__HOST=…`."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from pydantic import BaseModel, create_model
from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from msgrun.config.errors import Key, annotation_at, config_error, setting_keys
from msgrun.suggest import did_you_mean

_PREFIX: Final = "msgrun_"
_NESTED: Final = "__"


def override(
    raw: dict[str, Any], model: type[BaseModel], variables: Mapping[str, str]
) -> tuple[dict[str, Any], dict[Key, str]]:
    """Lay settings from environment variables over those of the file.

    Args:
        raw: what the file says.
        model: the settings there are.
        variables: the variables that are meant as settings, all beginning with `MSGRUN_`.

    Returns:
        The settings of both, and which variable each overridden key (in small letters) came from.

    Raises:
        ConfigError: a variable names no setting, or a list or table in it is not JSON.
    """
    origins: dict[Key, str] = {}
    faults: list[str] = []
    source = _source(model)
    merged = raw
    for name, text in sorted(variables.items()):
        key = tuple(name.lower().removeprefix(_PREFIX).split(_NESTED))
        if annotation_at(model, key) is None:
            known = [_variable(known) for known in setting_keys(model, raw)]
            faults.append(f"{name}: no setting has this name; {did_you_mean(name, known)}")
            continue
        source.env_vars = {name.lower(): text}
        try:
            values = source()
        except SettingsError:
            faults.append(f'{name}: must be JSON, as in ["a", "b"] or {{"a": "b"}}')
            continue
        merged = _merge(merged, values, name, origins)
    if faults:
        raise config_error(faults)
    return merged, origins


def _variable(key: Key) -> str:
    """Return the name of the variable that overrides the setting `key`."""
    return (_PREFIX + _NESTED.join(map(str, key))).upper()


def _source(model: type[BaseModel]) -> EnvSettingsSource:
    """Return pydantic-settings' reader of variables for the fields of `model`."""
    fields: dict[str, Any] = {
        name: (field.annotation, None) for name, field in model.model_fields.items()
    }
    settings = create_model("Environment", __base__=BaseSettings, **fields)
    return EnvSettingsSource(
        settings, case_sensitive=False, env_prefix=_PREFIX, env_nested_delimiter=_NESTED
    )


def _merge(
    below: Mapping[str, Any],
    above: Mapping[str, Any],
    variable: str,
    origins: dict[Key, str],
    path: Key = (),
) -> dict[str, Any]:
    """Return `below` with the values of `above` in it; names are matched whatever their case."""
    merged = dict(below)
    for name, value in above.items():
        key = (*path, name.lower())
        known = name if name in merged else _same_but_case(name, merged)
        there = merged.get(known)
        if isinstance(there, dict) and isinstance(value, dict):
            merged[known] = _merge(there, value, variable, origins, key)
        else:
            merged[known] = value
            origins[key] = variable
    return merged


def _same_but_case(name: str, known: Collection[str]) -> str:
    """Return the known name that differs from `name` only by case, or `name` itself."""
    return next((other for other in known if other.lower() == name.lower()), name)
