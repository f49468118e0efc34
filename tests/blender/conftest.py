from collections.abc import Iterator

import pytest

from renderers.blender.worker_process import WorkerProcess, worker_command


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    process = WorkerProcess(worker_command(None), tmp_path_factory.mktemp("worker"), 0, 4 << 30)
    try:
        process.greet()
        yield process
    finally:
        process.kill()
