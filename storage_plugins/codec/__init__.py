"""Assemblies to netCDF-4 files and back."""

from .netcdf import check, decode, decode_extras, encode

__all__ = ["check", "decode", "decode_extras", "encode"]
