import subprocess
import sys

import pytest

# Blocks too small for mappings of their own, and between them small ones that stay: glibc keeps them unless asked.
_SCATTERED = """
import ctypes, sys
from pathlib import Path
from gs_integration.memory import give_back_memory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)
blocks = []
for _ in range(2000):
    blocks.append(library.malloc(100_000))
    ctypes.memset(blocks[-1], 1, 100_000)
    library.malloc(64)
for block in blocks:
    library.free(block)
before = resident()
give_back_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' C libraries are not asked")
def test_the_system_gets_back_what_is_free_between_what_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", _SCATTERED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 150_000_000  # of 200 MB
