"""The three pipes of a worker: a thread at each, and when something last moved. Standard library and the protocol."""

import collections
import io
import queue
import subprocess
import threading
import time
from typing import Any

from ..protocol import Message, ProtocolError, read_message, write_message

_LONGEST_LOG_LINE = 4000
_READ_BYTES, _WRITTEN_BYTES = 1 << 16, 1 << 14
"""Of one chunk; so little that even a slow connection takes several in a matter of seconds."""


class Unsent(Exception):
    """A message that could not be sent; the conversation goes on.

    Args:
        job: that it was about.
        sentence: one line for the person.
    """

    def __init__(self, job: str | None, sentence: str) -> None:
        super().__init__(sentence)
        self.job = job


class WorkerPipes:
    """What is said to a process and by it, each way in a thread of its own.

    Args:
        process: its three pipes must be unbuffered.
        log: gets each line of its standard error.

    Attributes:
        arrived: messages, what was no message or could not be sent, and None once its output has ended.
        outbox: messages to send; None closes its input.
        moved: when a chunk of a message last went through, in seconds of the monotonic clock.
        last_line: of what this process said on its standard error; "" before.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", log: "collections.deque[str]") -> None:
        self.arrived: queue.Queue[Message | ProtocolError | Unsent | None] = queue.Queue()
        self.outbox: queue.Queue[Message | None] = queue.Queue()
        self.moved = time.monotonic()
        self.last_line = ""
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert isinstance(stdin, io.RawIOBase)
        assert isinstance(stdout, io.RawIOBase)
        assert isinstance(stderr, io.RawIOBase)
        incoming, outgoing = io.BufferedReader(_Watched(stdout, self), _READ_BYTES), _Watched(stdin, self)
        for target, arguments in (
            (self._read, (incoming,)),
            (self._write, (io.BufferedWriter(outgoing, _WRITTEN_BYTES),)),
            (self._keep_log, (io.BufferedReader(stderr), log)),
        ):
            threading.Thread(target=target, args=arguments, daemon=True).start()

    def _keep_log(self, stream: io.BufferedReader, log: "collections.deque[str]") -> None:
        while line := stream.readline(_LONGEST_LOG_LINE):
            self.last_line = line.decode("utf-8", "replace").rstrip()
            log.append(self.last_line)
        stream.close()

    # No message may have a name here: the name would keep the last one, files and all, until the next came.

    def _read(self, stream: io.BufferedReader) -> None:
        """Hand over messages until the stream ends or can no longer be followed."""
        try:
            while self._hand_over(stream):
                pass
        except ProtocolError as error:
            self.arrived.put(error)
        except (OSError, ValueError, MemoryError):
            pass
        self.arrived.put(None)
        stream.close()

    def _hand_over(self, stream: io.BufferedReader) -> bool:
        message = read_message(stream)
        if message is not None:
            self.arrived.put(message)
        return message is not None

    def _write(self, stream: io.BufferedWriter) -> None:
        """Write messages until there are no more, then close the process's input."""
        try:
            while self._send(stream):
                pass
        except OSError:
            pass  # the process is gone, which the reader notices
        try:
            stream.close()
        except OSError:
            pass  # what was left to write has no reader any more

    def _send(self, stream: io.BufferedWriter) -> bool:
        message = self.outbox.get()
        if message is None:
            return False
        try:
            write_message(stream, message)
        except ProtocolError as error:
            self.arrived.put(Unsent(message.text("job"), str(error)))
        return True


class _Watched(io.RawIOBase):
    """A pipe that notes when a chunk went through: a transfer may last longer than silence may."""

    def __init__(self, raw: io.RawIOBase, pipes: WorkerPipes) -> None:
        self._raw, self._pipes = raw, pipes

    def readable(self) -> bool:
        return self._raw.readable()

    def writable(self) -> bool:
        return self._raw.writable()

    def readinto(self, buffer: Any, /) -> int | None:
        count = self._raw.readinto(buffer)
        self._pipes.moved = time.monotonic()
        return count

    def write(self, content: Any, /) -> int | None:
        # A pipe that blocks would return only when all of it is written.
        with memoryview(content) as whole, whole[:_WRITTEN_BYTES] as chunk:
            count = self._raw.write(chunk)
        self._pipes.moved = time.monotonic()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
