"""Compressed parts of splat files, unpacked no further than their header allows."""

import zlib
from typing import Any

from .errors import FormatError

_CHUNK_BYTES = 1 << 20
_GZIP = 31  # zlib's number for a window of 32 kB with gzip's header and checksum
_LARGEST_ZSTD_WINDOW = 1 << 27


def gzip_packed(content: bytes) -> bytes:
    """Compress; the same content gives the same bytes.

    Args:
        content: anything.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    return packer.compress(content) + packer.flush()


class GzipReader:
    """Unpacks a gzip stream piece by piece.

    Args:
        content: the packed bytes.
        what: names the file in complaints.
    """

    def __init__(self, content: bytes, what: str) -> None:
        self._unpacker = zlib.decompressobj(_GZIP)
        self._packed = content
        self._what = what

    def read(self, num_bytes: int) -> bytes:
        """Return the next bytes, fewer at the end.

        Args:
            num_bytes: at most so many.

        Raises:
            FormatError: damaged, or cut off.
        """
        parts: list[bytes] = []
        missing = num_bytes
        while missing > 0 and not self._unpacker.eof:
            try:
                part = self._unpacker.decompress(self._packed, min(missing, _CHUNK_BYTES))
            except zlib.error as error:
                raise FormatError(f"{self._what} is damaged: its gzip data cannot be unpacked ({error}).") from None
            self._packed = self._unpacker.unconsumed_tail
            if not part and not self._packed and not self._unpacker.eof:
                raise FormatError(f"{self._what} is incomplete: its gzip data ends too early.")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def zstd_packed(content: bytes, level: int) -> bytes:
    """Compress.

    Args:
        content: anything.
        level: 1 (quick) to 22 (small).

    Raises:
        FormatError: this Python has no zstd.
    """
    library = _zstd()
    if hasattr(library, "ZstdFile"):
        return library.compress(content, level=level)
    return library.ZstdCompressor(level=level).compress(content)


def zstd_unpacked(content: bytes, num_bytes: int, what: str) -> bytes:
    """Unpack a stream that holds exactly so many bytes.

    Args:
        content: the packed bytes.
        num_bytes: as announced.
        what: names the file in complaints.

    Raises:
        FormatError: damaged, of another length, or this Python has no zstd.
    """
    library = _zstd()
    parts: list[bytes] = []
    found = 0
    for part in _zstd_parts(library, content, what):
        parts.append(part)
        found += len(part)
        if found > num_bytes:
            break
    if found != num_bytes:
        more = "more" if found > num_bytes else f"{found}"
        raise FormatError(f"{what} is damaged: expected a stream of {num_bytes} bytes, got {more}.")
    return b"".join(parts)


def _zstd_parts(library: Any, content: bytes, what: str) -> Any:
    """Yield unpacked pieces of at most a mebibyte."""
    failures = library.ZstdError
    try:
        if hasattr(library, "ZstdFile"):  # Python's own, since 3.14
            unpacker = library.ZstdDecompressor()
            part = unpacker.decompress(content, _CHUNK_BYTES)
            while part:
                yield part
                part = b"" if unpacker.eof else unpacker.decompress(b"", _CHUNK_BYTES)
        else:
            with library.ZstdDecompressor(max_window_size=_LARGEST_ZSTD_WINDOW).stream_reader(content) as stream:
                while part := stream.read(_CHUNK_BYTES):
                    yield part
    except failures as error:
        raise FormatError(f"{what} is damaged: its zstd data cannot be unpacked ({error}).") from None


def _zstd() -> Any:
    try:
        from compression import zstd  # pyright: ignore[reportAttributeAccessIssue] - in Python since 3.14

        return zstd
    except ImportError:
        pass
    try:
        import zstandard
    except ImportError:
        raise FormatError(
            "This .spz is of version 4, which needs zstd: expected Python 3.14 or the package zstandard, found "
            "neither; install zstandard or use version 3."
        ) from None
    return zstandard
