"""What a caller asks of an upload."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .names import Names

if TYPE_CHECKING:
    import xarray as xr


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadOptions:
    """What a caller of `Store.upload` asked for; see there."""

    extras: Mapping[str, xr.DataArray] | None = None
    assembly_prefix: str | None = None
    drop_attrs: Sequence[str] = ()
    replace: bool | None = None
    names: Names | None = None  # of `Store.upload_many`

    def given(self) -> dict[str, Any]:
        """Return what the caller gave that differs from its default, by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "names"}
        return {name: value for name, value in values.items() if value not in (None, ())}
