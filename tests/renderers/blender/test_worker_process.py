import os
import subprocess
import sys
from pathlib import Path

import pytest

from renderers.blender.worker_process import worker_threads


@pytest.mark.parametrize(("cores", "workers", "threads"), [(8, 1, 8), (8, 2, 4), (9, 2, 4), (2, 2, 2), (1, 1, 2)])
def test_workers_share_the_cores_and_have_two_threads_at_least(cores: int, workers: int, threads: int) -> None:
    assert worker_threads(workers, cores) == threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that ties a process to cores")
def test_only_cores_that_the_process_may_use_are_shared(repository: Path) -> None:
    """As on a cluster that gives a job a few of a machine's cores."""
    allowed = sorted(os.sched_getaffinity(0))
    code = "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1:])); "
    code += "from renderers.blender import worker_process as w; w._LEAST_THREADS = 1; print(w.worker_threads(1))"
    for some in (allowed, allowed[:1]):
        words = [sys.executable, "-c", code, *map(str, some)]
        done = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=True)
        assert int(done.stdout) == len(some)
