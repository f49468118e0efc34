"""Memory of this process that nothing uses any more, given back to the system.

glibc keeps freed memory for the next allocation, and what several threads have freed lies scattered: no two jobs leave
the same. Other programs on the machine, Blender among them, have more use for it.
"""

import ctypes
import gc
import sys


def give_back_memory() -> None:
    """Collect what is unreachable, and give the system and the graphics card what is free; takes milliseconds.

    Where the C library is not glibc (macOS, Windows, musl), it decides itself what it keeps.
    """
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
