"""What this machine is, in a few words: written beside every measurement."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "numpy", "numba", "open3d", "trimesh", "gsplat")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, memory, graphics card, Python and the versions that decide speed and results."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": available_cores(),
        "memory_gib": memory_gib(),
        "graphics_card": graphics_card(),
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := installed_version(name)) is not None},
    }


def installed_version(package: str) -> str | None:
    """Return the version of an installed package without importing it, None when it is absent.

    Args:
        package: its name, as pip knows it.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gib() -> float | None:
    """Return the machine's memory in GiB, None where the system does not say."""
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def graphics_card() -> str | None:
    """Return the name of the CUDA device that torch would use, if there is one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
