"""Calls of kernels that release Python's lock, side by side."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def for_each(function: Callable[[int], None], count: int) -> None:
    """Call a function for 0 .. count - 1, on as many threads as torch computes with.

    Args:
        function: Writes what belongs to its number and nothing else, so that the result does not depend on the threads.
        count: Number of calls.
    """
    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        for number in range(count):
            function(number)
        return
    for _ in _pool(threads).map(function, range(count)):
        pass


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """One pool for all calls: beside torch's own threads, starting one takes milliseconds."""
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")
