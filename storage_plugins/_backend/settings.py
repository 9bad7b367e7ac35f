"""The settings of a backend in ``storage.yaml``: a pydantic model derived from `StoreSettings`.

Fields of type ``pydantic.SecretStr``, or ``dict[str, SecretStr]``, are secrets: only they may contain
``${VARIABLE}``, and they are never shown. Fields of type `ConfigFolder` are folders, relative to the YAML file.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    ValidationInfo,
    field_validator,
)

from .._identifiers import check_prefix
from ..atomic import expanded

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _from_config(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str | Path):
        return value
    if value == "" or "\0" in str(value):
        raise ValueError("must be the path of a folder")
    base = (info.context or {}).get("folder")
    path = expanded(value)
    return path if path.is_absolute() or base is None else Path(base, path)


ConfigFolder = Annotated[Path, BeforeValidator(_from_config)]
"""A folder: ``~`` is the user's home, a relative path is relative to the YAML file."""


class StoreSettings(BaseModel):
    """The settings that every backend has. Unknown keys and values of another type are refused.

    A backend with secrets declares which servers get them: see `credential_hosts` and `implicit_credentials`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    assembly_prefix: str = Field("assy_", description="prefix of the file names of assemblies")
    contact: str | None = Field(None, description="whom to ask for access; named in errors")
    visibility: Literal["private", "public"] = Field("private", description="public: anyone can read the uploads")
    replace: StrictBool = Field(
        False, description="whether an upload may replace a changed assembly, if the store has no versions"
    )
    compression: Literal["deflate", "none"] = Field(
        "deflate", description="compression of uploaded assemblies; none is faster on a fast local disk"
    )
    timeout: float = Field(
        40, gt=0, le=86400, description="seconds without a response or progress after which an operation fails"
    )
    cache: Literal["private", "shared"] = Field(
        "private", description="shared: data that needed credentials may be cached in a shared folder"
    )
    allow_unencrypted: StrictBool = Field(
        False, description="whether credentials may be sent over http:// to other computers"
    )

    def __getstate__(self) -> dict[Any, Any]:
        """Leave secrets out of pickles."""
        state = super().__getstate__()
        return {**state, "__dict__": {name: _unsecret(value) for name, value in state["__dict__"].items()}}

    def credential_hosts(self) -> Iterable[str] | None:
        """Return the servers that these settings name, such as ``https://s3.lab.example``, and that get credentials.

        The service's own servers, which are the same for all its users, are left out. Before a ``storage.yaml`` that
        was found, and not named, sends a secret to another server, the user must agree to it once.
        The default, None, means that this is not known: the user must agree to every variable that such a file names.
        """
        return None

    def implicit_credentials(self) -> str | None:
        """Return what is sent to `credential_hosts` besides secret settings, such as "AWS credentials", or None."""
        return None

    @field_validator("timeout", mode="before")
    @classmethod
    def _is_number(cls, timeout: object) -> object:
        if isinstance(timeout, bool):
            raise ValueError("must be a number")
        return timeout

    @field_validator("assembly_prefix")
    @classmethod
    def _prefix_is_safe(cls, prefix: str) -> str:
        return check_prefix(prefix)


def _unsecret(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _unsecret(part) for name, part in value.items() if not isinstance(part, SecretStr)}
    return None if isinstance(value, SecretStr) else value


def secret_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of the fields that hold a secret."""
    return frozenset(name for name, field in model.model_fields.items() if _is_secret(field.annotation))


def without_secrets(model: type[BaseModel], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return raw settings with secrets that are one ``${VARIABLE}`` as they are, and other secrets left out."""
    secret = secret_fields(model)
    return {name: value for name, value in raw.items() if name not in secret or _is_reference(value)}


def _is_reference(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_reference, value.values()))
    return VARIABLE.fullmatch(str(value)) is not None


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in typing.get_args(annotation))
