"""A worker at the other end of two pipes, in a thread of the tests' own process."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from gs_integration.protocol import PROTOCOL_VERSION, Message, read_message, write_message
from gs_integration.worker import Worker


class Asker:
    """Speaks to a worker and listens to it."""

    def __init__(self, to_worker: BinaryIO, from_worker: BinaryIO, thread: threading.Thread) -> None:
        self.to_worker, self.from_worker, self.thread = to_worker, from_worker, thread

    def say(self, kind: str, attachments: dict[str, bytes] | None = None, **fields: object) -> None:
        write_message(self.to_worker, Message(kind, fields, attachments or {}))

    def hear(self, *kinds: str) -> Message:
        """The next message of these kinds; others are left out."""
        while (message := read_message(self.from_worker)) is not None:
            if message.kind in kinds:
                return message
        raise AssertionError(f"the worker ended before it said one of {kinds}")

    def run(self, job: str, task: str, attachments: dict[str, bytes] | None = None, **settings: object) -> Message:
        self.say("run", attachments, job=job, task=task, settings=settings)
        return self.hear("result", "error")


@contextmanager
def worker_thread(idle_seconds: float = 600.0) -> Iterator[Asker]:
    """Start a worker; when the block ends its input closes, and it must end."""
    (worker_reads, we_write), (we_read, worker_writes) = os.pipe(), os.pipe()
    ends = os.fdopen(worker_reads, "rb"), os.fdopen(worker_writes, "wb")
    serving = Worker(*ends, idle_seconds)
    thread = threading.Thread(target=serving.serve)
    thread.start()
    asker = Asker(os.fdopen(we_write, "wb"), os.fdopen(we_read, "rb"), thread)
    try:
        assert asker.hear("hello").fields["protocol"] == PROTOCOL_VERSION
        yield asker
    finally:
        asker.to_worker.close()
        thread.join(60)
        for stream in (*ends, asker.from_worker):
            stream.close()
    assert not thread.is_alive()
