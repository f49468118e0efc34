"""How the worker and who asks it speak: messages over a pair of pipes.

A message is one line of JSON, at most a mebibyte long, and then the bytes of its attachments, one after another. The
line names the kind of the message, its fields, and the length of each attachment:

    {"kind": "run", "job": "1", "task": "image_to_splats", "settings": {}, "attachments": [{"name": "picture.png",
     "bytes": 48213}]}

To the worker:

    run       job, task, settings, and the files that the task needs
    cancel    job: it ends with an error whose cause is "cancelled"
    free      job: models leave the memory
    bye       the worker ends, as when its input is closed

From the worker:

    hello     protocol, version, python, process, tasks; always the first
    progress  job, stage, step, total, seconds_left, and perhaps a picture named "preview"; repeated while nothing new
              happens, as a sign of life
    result    job, findings, and the files of the result
    error     job (null if a message could not be read), cause, what, why, what_to_do (first and last are
              empty where why is a whole sentence)

Each job ends with one result or one error. Nothing is executed that a message holds, and names of attachments cannot
leave the folder that they are written to. Numpy and the standard library alone: the add-on carries a copy of this file.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .formats.errors import FormatError
from .formats.json_values import parsed_object

PROTOCOL_VERSION = 1

LONGEST_HEADER_BYTES = 1 << 20
LARGEST_MESSAGE_BYTES = 4 << 30
MOST_ATTACHMENTS = 4096

CAUSES = ("person", "cancelled", "memory", "bug", "message")
"""Of errors: what the person can mend, a cancel, too little memory, a defect, a message that cannot be taken."""

_CHUNK_BYTES = 1 << 20
_LONGEST_NAME, _DEEPEST_NAME = 200, 6
_ARRAY_TYPES = {"u1": np.uint8, "i4": np.int32, "f4": np.float32}
_MOST_DIMENSIONS = 4
_FORBIDDEN = frozenset('\\:*?"<>|')
# Windows takes these for devices, whatever follows the first dot.
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})

Attachment = bytes | np.ndarray


class ProtocolError(Exception):
    """A message that cannot be taken, in one sentence.

    Args:
        sentence: expected and got.
        in_step: whether the next message can be read all the same.
    """

    def __init__(self, sentence: str, *, in_step: bool) -> None:
        super().__init__(sentence)
        self.in_step = in_step


@dataclass(frozen=True, eq=False)
class Message:
    """What one side tells the other.

    Args:
        kind: see this module.
        fields: what JSON can hold, numbers finite.
        attachments: files and arrays by name.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, Attachment] = field(default_factory=dict)

    def text(self, name: str, longest: int = 10_000) -> str | None:
        """Return a field that is text, None if it is something else.

        Args:
            name: of the field.
            longest: what is longer is cut off.
        """
        value = self.fields.get(name)
        return value[:longest] if isinstance(value, str) else None


def read_message(stream: BinaryIO) -> Message | None:
    """Read the next message.

    Args:
        stream: blocks until a message is there.

    Returns:
        The message; None where the stream ends between two messages.

    Raises:
        ProtocolError: no message, one that is too large, or one that ends too early. Nothing is allocated that did not
            arrive.
        OSError: the pipe broke.
    """
    line = stream.readline(LONGEST_HEADER_BYTES + 1)
    if not line:
        return None
    if not line.endswith(b"\n"):
        if len(line) > LONGEST_HEADER_BYTES:
            raise ProtocolError(
                f"Expected a message whose first line has at most {LONGEST_HEADER_BYTES} bytes, got a longer one.",
                in_step=False,
            )
        raise ProtocolError("Expected a whole message, got one that ends within its first line.", in_step=False)
    try:
        header = parsed_object(line, "The message")
    except FormatError as error:
        raise ProtocolError(str(error), in_step=True) from None
    described = _described(header.pop("attachments", []))
    contents = [_read_bytes(stream, size) for _, size, _ in described]
    kind = header.pop("kind", None)
    if not isinstance(kind, str) or not kind:
        raise ProtocolError("Expected a message with a kind, got one without.", in_step=True)
    attachments: dict[str, Attachment] = {}
    for (name, _, layout), content in zip(described, contents, strict=True):
        if (problem := name_problem(name)) is not None:
            raise ProtocolError(f"Refused an attachment: its name {problem}.", in_step=True)
        if name in attachments:
            raise ProtocolError(f"Refused an attachment: the name {name} appears twice.", in_step=True)
        attachments[str(name)] = content if layout is None else _array(str(name), content, *layout)
    return Message(kind, header, attachments)


def write_message(stream: BinaryIO, message: Message) -> None:
    """Write a message, whole.

    Args:
        stream: of bytes.
        message: names of attachments must be as `name_problem` wants them.

    Raises:
        ProtocolError: it is too large, or holds what cannot be written; nothing was written then.
        OSError: the other side is gone.
    """
    described, contents = [], []
    for name, attachment in message.attachments.items():
        if (problem := name_problem(name)) is not None:
            raise ProtocolError(f"Cannot send an attachment: its name {problem}.", in_step=True)
        about: dict[str, Any] = {"name": name}
        if isinstance(attachment, np.ndarray):
            kind = next((code for code, dtype in _ARRAY_TYPES.items() if attachment.dtype == dtype), None)
            if kind is None or not 1 <= attachment.ndim <= _MOST_DIMENSIONS:
                raise ProtocolError(f"Cannot send {name}: expected u1, i4 or f4, got {attachment.dtype}.", in_step=True)
            about |= {"type": kind, "shape": list(attachment.shape)}
            attachment = np.ascontiguousarray(attachment, f"<{kind}").tobytes()
        described.append({**about, "bytes": len(attachment)})
        contents.append(attachment)
    header = {"kind": message.kind, **message.fields, **({"attachments": described} if described else {})}
    try:
        line = json.dumps(header, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise ProtocolError(f"Cannot send a message: {error}.", in_step=True) from None
    total = sum(len(content) for content in contents)
    if len(line) > LONGEST_HEADER_BYTES or total > LARGEST_MESSAGE_BYTES or len(contents) > MOST_ATTACHMENTS:
        raise ProtocolError(
            f"Cannot send a message with a line of {len(line)} bytes and {len(contents)} attachments of {total} bytes: "
            f"expected at most {LONGEST_HEADER_BYTES}, {MOST_ATTACHMENTS} and {LARGEST_MESSAGE_BYTES}.",
            in_step=True,
        )
    stream.write(line)
    for content in contents:
        stream.write(content)
    stream.flush()


def name_problem(name: object) -> str | None:
    """Say why a name cannot be that of a file inside a folder; None if it can, on every system.

    Args:
        name: parts separated by slashes.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME:
        return f"is no text of 1 to {_LONGEST_NAME} letters"
    shown = repr(name[:60])
    parts = name.split("/")
    if len(parts) > _DEEPEST_NAME:
        return f"{shown} is deeper than {_DEEPEST_NAME} folders"
    for part in parts:
        if part in ("", ".", ".."):
            return f"{shown} leads out of its folder or nowhere"
        if (
            any(letter in _FORBIDDEN or not letter.isprintable() for letter in part)
            or part[-1] in ". "
            or part[0] == " "
        ):
            return f"{shown} has letters that not every system admits"
        if part.split(".")[0].lower() in _RESERVED:
            return f"{shown} is reserved on Windows"
    return None


def write_files(attachments: Mapping[str, Attachment], folder: Path) -> list[Path]:
    """Write attachments that are files into a folder of their own.

    Args:
        attachments: as a message brought them; arrays are left out.
        folder: exists, and nobody else writes into it.

    Returns:
        The files.

    Raises:
        ProtocolError: a name leads out of the folder, or two names are one on this disk; nothing is overwritten.
        OSError: the disk is full or not writable.
    """
    inside = folder.resolve()
    written = []
    for name, content in attachments.items():
        if isinstance(content, np.ndarray):
            continue
        file = inside / name
        if name_problem(name) is not None or not file.resolve().is_relative_to(inside):
            raise ProtocolError(f"Refused an attachment: {name!r} leads out of its folder.", in_step=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with file.open("xb") as stream:
                stream.write(content)
        except FileExistsError:
            raise ProtocolError(f"Refused an attachment: {name!r} is there already.", in_step=True) from None
        written.append(file)
    return written


def _described(found: object) -> list[tuple[object, int, tuple[str, tuple[int, ...]] | None]]:
    """Names, lengths and layouts of the attachments; what is wrong with lengths ends the conversation."""
    if not isinstance(found, list) or len(found) > MOST_ATTACHMENTS:
        raise ProtocolError(f"Expected a list of at most {MOST_ATTACHMENTS} attachments.", in_step=False)
    described, total = [], 0
    for about in found:
        size = about.get("bytes") if isinstance(about, dict) else None
        if type(size) is not int or size < 0:
            raise ProtocolError(f"Expected the length of each attachment, got {str(size)[:40]}.", in_step=False)
        total += size
        if total > LARGEST_MESSAGE_BYTES:
            raise ProtocolError(
                f"Expected attachments of at most {LARGEST_MESSAGE_BYTES} bytes together, got more.", in_step=False
            )
        layout = None
        if "type" in about or "shape" in about:
            kind, shape = about.get("type"), about.get("shape")
            fits = (
                isinstance(kind, str)
                and kind in _ARRAY_TYPES
                and isinstance(shape, list)
                and 1 <= len(shape) <= _MOST_DIMENSIONS
                and all(type(side) is int and 0 <= side < 2**31 for side in shape)
                and math.prod(shape) * np.dtype(_ARRAY_TYPES[kind]).itemsize == size
            )
            if not fits:
                raise ProtocolError("Expected an array whose type and shape fit its length.", in_step=False)
            layout = (str(kind), tuple(shape or ()))
        described.append((about.get("name"), size, layout))
    return described


def _read_bytes(stream: BinaryIO, size: int) -> bytes:
    parts = []
    missing = size
    while missing:
        part = stream.read(min(missing, _CHUNK_BYTES))
        if not part:
            raise ProtocolError(
                f"Expected an attachment of {size} bytes, got {size - missing} before the end.", in_step=False
            )
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _array(name: str, content: bytes, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.frombuffer(content, f"<{kind}").astype(_ARRAY_TYPES[kind]).reshape(shape)
    if kind == "f4" and not np.isfinite(values).all():
        raise ProtocolError(f"Refused the array {name}: it holds numbers that are not finite.", in_step=True)
    return values
