"""The JSON Schema of ``storage.yaml``, for editors: made from the settings models of the installed backends.

Draft 7, which every editor supports. It accepts what the configuration accepts, as far as names and types go; what
the validators of a model refuse besides, `open_store` reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._backend.discovery import installed
from .._backend.settings import VARIABLE, secret_fields
from .._store.group import GroupSettings
from .config import BUCKETS, GROUP, STORE_NAME, UNBRACED

if TYPE_CHECKING:
    from pydantic import BaseModel

_WRITTEN = 'A secret: write "${VARIABLE}", which is read from the environment when the store is opened.'


def schema() -> tuple[dict[str, Any], dict[str, str]]:
    """Return the schema, and the problem of each plugin that is left out, by its title."""
    definitions: dict[str, Any] = {}
    names: list[str] = []
    left_out: dict[str, str] = {}
    for plugin in installed():
        if plugin.backend is None or plugin.problem is not None:
            left_out[plugin.title] = f"{plugin.problem}\n  {plugin.remedy}"
            continue
        try:
            definitions |= _definitions(plugin.name, plugin.backend.settings)
        except Exception as error:  # a third party's model with types that have no schema
            left_out[plugin.title] = f"its settings have no schema: {type(error).__name__}: {error}"
        else:
            names.append(plugin.name)
    definitions |= _definitions(GROUP, GroupSettings)
    names.append(GROUP)
    chosen = [
        {"if": {"properties": {"backend": {"const": name}}, "required": ["backend"]}, "then": _reference(name)}
        for name in names
    ]
    definitions["store"] = {
        "type": "object",
        "properties": {"backend": {"enum": names, "description": "the kind of store"}},
        "required": ["backend"],
        "allOf": chosen,
    }
    return {**_TOP, "$defs": definitions}, left_out


def _definitions(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of one backend's store and those of the models in it, by unique names."""
    made = model.model_json_schema(ref_template=f"#/$defs/{_name(name)}.{{model}}")
    inner = {f"{_name(name)}.{title}": text for title, text in made.pop("$defs", {}).items()}
    secret = secret_fields(model)
    properties = {
        field: _secret(text) if field in secret else _plain(text) for field, text in made["properties"].items()
    }
    store = {
        **made,
        "properties": {"backend": {"const": name}, **properties},
        "required": ["backend", *made.get("required", [])],
    }
    return {_name(name): store, **inner}


def _secret(text: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a secret: any text, because the model checks the value of its variable."""

    def any_text(part: Any) -> Any:
        if isinstance(part, list):
            return [any_text(one) for one in part]
        if not isinstance(part, dict):
            return part
        if part.get("format") == "password":
            return {"type": "string"}
        return {key: any_text(value) for key, value in part.items() if key != "default"}

    described = " ".join(filter(None, [text.get("description"), _WRITTEN]))
    return {**any_text(text), "description": described}


def _plain(text: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a setting that is not secret: its text names no variable."""
    if text.get("type") == "string" and "enum" not in text:
        return {**text, "not": {"pattern": f"{VARIABLE.pattern}|{UNBRACED.pattern}"}}
    return {**text, "anyOf": [_plain(part) for part in text["anyOf"]]} if "anyOf" in text else text


def _name(backend: str) -> str:
    return f"backend.{backend}"


def _reference(backend: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{_name(backend)}"}


_TOP: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "storage.yaml of storage-plugins",
    "type": "object",
    "required": ["stores"],
    "additionalProperties": False,
    "properties": {
        "default": {"type": ["string", "null"], "description": "name of the store that is used if none is named"},
        "receipts": {
            "type": ["boolean", "string", "null"],
            "description": "where receipts go: true (default): receipts/ beside this file; false: nowhere; or a folder",
        },
        "stores": {
            "type": "object",
            "description": "the stores by name",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^({STORE_NAME.pattern})$"},
            "additionalProperties": {"$ref": "#/$defs/store"},
        },
        "brainscore": {
            "type": ["object", "null"],
            "required": ["buckets"],
            "additionalProperties": False,
            "properties": {
                "buckets": {
                    "type": "object",
                    "description": "which store is used for which bucket in Brain-Score's code",
                    "propertyNames": {"pattern": f"^({BUCKETS.pattern})$"},
                    "additionalProperties": {"type": "string"},
                }
            },
        },
    },
}
