"""Folders at any address: on a disk, or wherever fsspec reaches (s3://bucket/folder, with the package for it)."""

from typing import Any

import fsspec

from distill_core.errors import UserError


def file_system(address: str) -> tuple[Any, str]:
    """The file system of an address (of fsspec), and the folder's path in it without a slash at its end.

    Raises:
        UserError: no such kind of address, or the package for it is missing.
    """
    try:
        system, root = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise UserError(f"Expected a folder or an address that fsspec knows, got {address}: {error}.") from error
    return system, root.rstrip("/")
