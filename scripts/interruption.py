"""Ctrl-C ends a program within three seconds, whatever it is doing.

Python runs its own signal handlers between two steps of the main thread, so a long call into numba or torch
would hold Ctrl-C back until it returns. The C part of the signal machinery, though, writes to a file descriptor
at once; a thread waits there and ends the process when the main thread has not managed it in time.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

INTERRUPTED_STATUS = 130
PATIENCE_SECONDS = 2.5


class Interruption:
    """Watch for Ctrl-C while the block runs: KeyboardInterrupt at once, the end of the process when that fails.

    A second Ctrl-C ends the process immediately, and so does one after the block, with which the program ends.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._requested = threading.Event()
        self._announced = threading.Event()

    def announce(self) -> None:
        """Tell the person, once."""
        if not self._announced.is_set():
            self._announced.set()
            sys.stderr.write("\nStopped; what was finished is kept.\n")

    @property
    def requested(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._requested.is_set()

    def __enter__(self) -> "Interruption":
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        # A shell that starts a job in the background makes it ignore Ctrl-C; here the signal is always meant.
        signal.signal(signal.SIGINT, self._interrupt)
        self._previous_descriptor = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="ctrl-c", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.requested:
            # Threads and children of libraries may still hold the interpreter up: the watch stays.
            return
        signal.set_wakeup_fd(self._previous_descriptor)
        # What is left is the interpreter's own end, where an interrupt in Python could only print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._writer.close()

    def _interrupt(self, number: int, frame: object) -> None:
        if not self._requested.is_set():
            self._requested.set()
        raise KeyboardInterrupt

    def _watch(self) -> None:
        while True:
            received = self._reader.recv(1)
            if not received:
                self._reader.close()
                return
            if received[0] == signal.SIGINT:
                break
        self._requested.set()
        self._reader.settimeout(self._patience_seconds)
        try:
            while self._reader.recv(1) not in (bytes([signal.SIGINT]), b""):
                pass
        except TimeoutError:
            pass
        self.announce()
        sys.stderr.flush()
        os._exit(INTERRUPTED_STATUS)


@contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block: a process that is just being started would be left behind."""
    pressed = False

    def remember(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True

    previous_handler = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous_handler)
    if pressed:
        raise KeyboardInterrupt
