"""Where many machines put their records: a folder that all of them share, or any address that fsspec knows."""

import secrets
import shutil
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from distill_core.errors import UserError
from distill_core.records.addresses import file_system

_LAST_FILE = "transforms.json"


class RecordStore:
    """Records by name. A record counts once its `transforms.json` is there, and that comes last.

    Args:
        address: a folder, or an address such as s3://bucket/records.

    Raises:
        UserError: no such kind of address.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._system, self._root = file_system(address)

    def has(self, name: str) -> bool:
        """Whether the record is there, whole.

        Raises:
            UserError: the address cannot be reached.
        """
        try:
            self._system.invalidate_cache()  # another machine may have put it there
            return self._system.exists(f"{self._root}/{name}/{_LAST_FILE}")
        except OSError as error:
            raise UserError(f"{self.address}: expected to look for records there, got: {error}.") from error

    def put(self, record: Path, name: str) -> None:
        """Copy a record there; one of the same name that is there already is left as it is.

        Args:
            record: its folder on this machine.
            name: its name there.

        Raises:
            UserError: it cannot be written.
        """
        try:
            if isinstance(self._system, LocalFileSystem):
                self._move_in(record, Path(self._root), name)
            else:
                self._send(record, name)
        except OSError as error:
            raise UserError(f"{self.address}: expected to write {name} there, got: {error}.") from error

    def read_file(self, name: str, file: str) -> bytes:
        """The bytes of a file of a record.

        Raises:
            UserError: it is not there, or the address cannot be reached.
        """
        try:
            return self._system.cat_file(f"{self._root}/{name}/{file}")
        except OSError as error:
            raise UserError(f"{self.address}: expected {file} in the record {name}, got: {error}.") from error

    def _move_in(self, record: Path, folder: Path, name: str) -> None:
        temporary = folder / f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            shutil.copytree(record, temporary)
            # Two machines may have rendered the same object, when one of them was thought to be lost.
            if not (folder / name).exists():
                temporary.rename(folder / name)
        except OSError:
            if not self.has(name):
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _send(self, record: Path, name: str) -> None:
        files = sorted(file.relative_to(record).as_posix() for file in record.rglob("*") if file.is_file())
        for file in sorted(files, key=lambda file: file == _LAST_FILE):
            self._system.makedirs(f"{self._root}/{name}/{file}".rpartition("/")[0], exist_ok=True)
            self._system.put_file(str(record / file), f"{self._root}/{name}/{file}")
