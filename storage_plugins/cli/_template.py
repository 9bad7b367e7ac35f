"""The storage.yaml that ``storage-plugins init`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError

SCHEMA_FILE = "storage.schema.json"
_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
"""
STORAGE_YAML = f"""\
{_HEAD}# Stores for assemblies. `default:` names the one that is used.
default: scratch

stores:
  # a folder on this computer or on a file server; relative to this file
  scratch: {{backend: local, root: ./assemblies}}

  # a bucket on Amazon S3, with the credentials of the AWS tools (`aws configure`)
  # lab: {{backend: s3, bucket: my-bucket/my-folder, contact: data@lab.example}}

  # a bucket on your own S3 server (Ceph, MinIO)
  # ours: {{backend: s3, bucket: my-bucket, endpoint_url: "https://s3.lab.example"}}
"""


def store_yaml(name: str, backend: str, settings: Mapping[str, str], folder: Path) -> str:
    """Return a storage.yaml with one store, after checking its settings as opening it would.

    Raises:
        ConfigError: unknown or wrong settings, or a secret written out.
        PluginError: no such backend, or it is broken.
    """
    import yaml

    from .._backend.discovery import find_backend
    from .._backend.settings import VARIABLE, secret_fields
    from .._config.config import Config

    found = find_backend(backend)
    for field in secret_fields(found.settings) & settings.keys():
        if not VARIABLE.fullmatch(settings[field]):
            raise ConfigError(
                f"{field} is a secret and does not belong in storage.yaml",
                hint=f"Put it into an environment variable, and give its name: --{field} '${{MY_{field.upper()}}}'",
            )
    words = {"true": True, "false": False}
    store: dict[str, Any] = {"backend": backend, **{key: words.get(text, text) for key, text in settings.items()}}
    values = {"default": name, "stores": {name: store}}
    Config.open(values).entry(name).settings(found)
    line = yaml.safe_dump(store, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True).strip()
    title = yaml.safe_dump(name).removesuffix("\n...\n").strip()
    return f"{_HEAD}default: {title}\nstores:\n  {title}: {line}\n"
