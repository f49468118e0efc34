"""Free memory that stays the machine's: a virtual one may hand it back to its host, and then waits for each new page.

Linux offers a host what is free in large blocks (free page reporting), and the next touch of such a page is answered by
the host. Where that takes 0.1 ms for 4 kB, software OpenGL, which takes and frees tens of megabytes a frame, and a
worker that does with its arrays show what the host does and little else. Here a process takes memory, which brings it
to the machine, and frees all of it but one page in so many: what is free in small pieces is used first, never offered.
"""

import mmap
import os
import subprocess
import sys
import time
from types import TracebackType

_PIECE_BYTES = 512 << 10
"""Below every block that a host is offered: 2 MB and above, 1 MB on the machine of the measurements."""
_SECONDS_BETWEEN_LOOKS = 0.5


class BackedMemory:
    """Keeps so much free memory in small pieces until it is left; does nothing where the system is not Linux.

    Args:
        gibibytes: of free memory.
    """

    def __init__(self, gibibytes: float) -> None:
        self._pieces = int(gibibytes * (1 << 30)) // _PIECE_BYTES if sys.platform == "linux" else 0
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "BackedMemory":
        """Take the memory and free it; minutes where the host is slow to give it."""
        if self._pieces:
            command = [sys.executable, __file__, str(self._pieces), str(os.getpid())]
            self._holder = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert self._holder.stdout is not None
            self._holder.stdout.read(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free all of it."""
        if self._holder is not None and self._holder.stdout is not None:
            self._holder.terminate()
            self._holder.wait()
            self._holder.stdout.close()


def _hold(pieces: int, parent: int) -> None:
    """Take memory, free all but the first page of each piece, and wait until the parent is gone."""
    memory = mmap.mmap(-1, pieces * _PIECE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for page in range(0, len(memory), mmap.PAGESIZE):
        memory[page] = 1
    for piece in range(0, len(memory), _PIECE_BYTES):
        memory.madvise(mmap.MADV_DONTNEED, piece + mmap.PAGESIZE, _PIECE_BYTES - mmap.PAGESIZE)
    os.write(1, b".")
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)


if __name__ == "__main__":
    _hold(int(sys.argv[1]), int(sys.argv[2]))
