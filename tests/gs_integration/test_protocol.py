import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_integration.protocol import (
    LARGEST_MESSAGE_BYTES,
    LONGEST_HEADER_BYTES,
    Message,
    ProtocolError,
    name_problem,
    read_message,
    write_files,
    write_message,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class EndlessLine(io.RawIOBase):
    """A header of as many bytes as anybody asks for; counts what was taken."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        buffer[:] = b"x" * len(buffer)
        self.taken += len(buffer)
        return len(buffer)


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def described(**about: object) -> bytes:
    return line(kind="run", job="1", attachments=[about])


@given(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20),
    st.dictionaries(st.text().filter(lambda name: name not in ("kind", "attachments")), PLAIN, max_size=4),
    st.dictionaries(st.sampled_from(["a.png", "b/c.ply", "d"]), st.binary(max_size=300)),
)
def test_what_is_written_is_read(kind: str, fields: dict[str, object], files: dict[str, bytes]) -> None:
    stream = io.BytesIO()
    write_message(stream, Message(kind, fields, files))
    write_message(stream, Message("next"))
    stream.seek(0)
    found = read_message(stream)
    assert found is not None
    assert (found.kind, found.fields, found.attachments) == (kind, fields, files)
    assert (following := read_message(stream)) is not None
    assert following.kind == "next"
    assert read_message(stream) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_arrays_keep_type_and_shape(dtype) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    stream = io.BytesIO()
    write_message(stream, Message("progress", {}, {"preview": values.transpose(1, 0, 2), "empty": values[:0]}))
    stream.seek(0)
    found = read_message(stream)
    assert found is not None
    preview = found.attachments["preview"]
    assert isinstance(preview, np.ndarray)
    np.testing.assert_array_equal(preview, values.transpose(1, 0, 2))
    assert preview.dtype == dtype
    assert np.shape(found.attachments["empty"]) == (0, 3, 4)


@pytest.mark.parametrize(
    ("content", "words", "in_step"),
    [
        (b"nonsense\n", "cannot be read", True),
        (b"\n", "cannot be read", True),
        (b"[1]\n", "expected a JSON object", True),
        (b"\xff\xfe\n", "UTF-8", True),
        (b'{"kind": NaN}\n', "finite", True),
        (b'{"kind": "run", "x": -Infinity}\n', "finite", True),
        (b'{"kind": "run", "x": 1e999}\n', "finite", True),
        (b'{"kind": "run", "x": ' + b"9" * 5000 + b"}\n", "cannot be read", True),
        (b"[" * 100_000 + b"\n", "nested too deep", True),
        (b'{"a":' * 100_000 + b"\n", "nested too deep", True),
        (line(job="1"), "a kind", True),
        (line(kind=5), "a kind", True),
        (line(kind="run", attachments=5), "attachments", False),
        (line(kind="run", attachments=[{}] * 5000), "attachments", False),
        (line(kind="run", attachments=[5]), "length", False),
        (described(name="a", bytes=-1), "length", False),
        (described(name="a", bytes=1.0), "length", False),
        (described(name="a", bytes=True), "length", False),
        (described(name="a", bytes=LARGEST_MESSAGE_BYTES + 1), "at most", False),
        (described(name="a", bytes=10) + b"1234", "got 4 before the end", False),
        (described(name="../a", bytes=1) + b"x", "leads out", True),
        (described(name="/a", bytes=1) + b"x", "leads out", True),
        (described(name="a/../../b", bytes=1) + b"x", "leads out", True),
        (described(name="c:\\a", bytes=1) + b"x", "not every system", True),
        (described(name="a\0", bytes=1) + b"x", "not every system", True),
        (described(name=7, bytes=1) + b"x", "no text", True),
        (described(name="a", bytes=4, type="f4", shape=[1]) + b"\x00\x00\xc0\x7f", "not finite", True),
        (described(name="a", bytes=4, type="f4", shape=[2]), "fit its length", False),
        (described(name="a", bytes=4, type="O", shape=[1]), "fit its length", False),
        (described(name="a", bytes=4, type=[], shape=[1]), "fit its length", False),
        (described(name="a", bytes=4, type="u1", shape=[-2, -2]), "fit its length", False),
        (described(name="a", bytes=4, type="u1", shape=[4] + [1] * 9), "fit its length", False),
        (b'{"kind": "run"', "within its first line", False),
    ],
)
def test_hostile_messages_are_refused(content: bytes, words: str, in_step: bool) -> None:
    stream = io.BytesIO(content + line(kind="next"))
    if not in_step:
        stream = io.BytesIO(content)
    with pytest.raises(ProtocolError, match=words) as refusal:
        read_message(stream)
    assert refusal.value.in_step == in_step
    assert len(str(refusal.value)) < 400
    if in_step:
        assert (following := read_message(stream)) is not None
        assert following.kind == "next"


def test_a_header_without_end_is_refused_after_a_mebibyte() -> None:
    endless = EndlessLine()
    with pytest.raises(ProtocolError, match="at most 1048576 bytes"):
        read_message(io.BufferedReader(endless))
    assert endless.taken < 2 * LONGEST_HEADER_BYTES


def test_ten_thousand_random_strings_are_refused_one_by_one() -> None:
    generator = random.Random(0)
    # Half of them begin like a message.
    strings = [generator.randbytes(generator.randint(1, 40)).replace(b"\n", b" ") for _ in range(10_000)]
    content = b"".join((b'{"kind":' if number % 2 else b"") + text + b"\n" for number, text in enumerate(strings))
    stream = io.BytesIO(content + line(kind="next"))
    refused = 0
    while stream.tell() < len(content):
        with pytest.raises(ProtocolError) as refusal:
            read_message(stream)
        assert refusal.value.in_step
        refused += 1
    assert refused == 10_000
    assert (following := read_message(stream)) is not None
    assert following.kind == "next"


@pytest.mark.parametrize("name", ["a.png", "views/000.png", "ein Bild (1).jpg", "画像.png", "a..b", "-a"])
def test_names_of_files_are_admitted(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/..", "a//b", "/a", "a/", "a\\b", "a:b", "a\n", "a.", "a ", " a", "NUL", "x/com1.txt", "a" * 201],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    assert name_problem(name) is not None


def test_files_are_written_inside_their_folder_and_never_over_others(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    written = write_files({"a.txt": b"1", "views/b.txt": b"2", "preview": np.zeros(3, np.uint8)}, folder)
    assert {file.relative_to(folder.resolve()).as_posix() for file in written} == {"a.txt", "views/b.txt"}
    (folder / "out").symlink_to(tmp_path)
    for name in ("../x", "out/x", "a.txt"):
        with pytest.raises(ProtocolError):
            write_files({name: b"3"}, folder)
    assert {entry.name for entry in tmp_path.iterdir()} == {"job"}
    assert (folder / "a.txt").read_bytes() == b"1"


@pytest.mark.parametrize(
    "message",
    [
        Message("result", {"x": float("nan")}),
        Message("result", {"x": "y" * LONGEST_HEADER_BYTES}),
        Message("result", {}, {"../a": b""}),
        Message("result", {}, {"a": np.zeros(2, np.float64)}),
    ],
)
def test_what_the_other_side_would_refuse_is_not_sent(message: Message) -> None:
    stream = io.BytesIO()
    with pytest.raises(ProtocolError, match="Cannot send"):
        write_message(stream, message)
    assert stream.getvalue() == b""
