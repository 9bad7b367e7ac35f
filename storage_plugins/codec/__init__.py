"""Assemblies to netCDF-4 files and back, exactly. ``docs/format.md`` specifies the format."""

from ._comparing import compare
from ._decoding import check, decode, decode_extras, with_stimulus_id
from ._encoding import content_digest, encode
from ._parts import LocalSource, Parts, digest_of_file
from ._summary import summary

__all__ = [
    "LocalSource",
    "Parts",
    "check",
    "compare",
    "content_digest",
    "decode",
    "decode_extras",
    "digest_of_file",
    "encode",
    "summary",
    "with_stimulus_id",
]
