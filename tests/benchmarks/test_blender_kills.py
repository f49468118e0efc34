"""Which processes a process started, while its threads come and go."""

import subprocess
import sys

import pytest

from benchmarks.blender_kills import children

_PARENT = """
import subprocess, sys, threading
with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
    print(child.pid, flush=True)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()
    while not over.is_set():
        beside = [threading.Thread(target=int) for _ in range(8)]
        [thread.start() for thread in beside]
        [thread.join() for thread in beside]
    child.communicate(b"\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_children_are_found_while_threads_end() -> None:
    command = [sys.executable, "-c", _PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        for _ in range(200):
            assert children(parent.pid) == [child]
        parent.communicate()
    assert children(parent.pid) == []
