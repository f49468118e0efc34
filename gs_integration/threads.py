"""One number of threads for torch and numba."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch


@contextmanager
def numba_threads_as_torch() -> Iterator[None]:
    """Let numba use as many threads as torch: two pools that differ get in each other's way."""
    wanted = torch.get_num_threads()
    # The first question starts numba's OpenMP pool, which changes torch's number of threads behind its back.
    before = numba.get_num_threads()
    torch.set_num_threads(wanted)
    largest = numba.config.NUMBA_NUM_THREADS  # pyright: ignore - numba fills its settings from the environment
    numba.set_num_threads(max(1, min(wanted, largest)))
    try:
        yield
    finally:
        numba.set_num_threads(before)
        torch.set_num_threads(wanted)
