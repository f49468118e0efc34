"""Find the system libraries that Open3D and Blender's module open, and install what is missing where that is allowed.

Run by `make setup` and `make setup-blender`, before anything else is installed: it needs Python alone.
"""

import ctypes
import os
import shutil
import subprocess
import sys

# What the wheels of Open3D and bpy link to, and the Debian and Ubuntu package that has it.
PACKAGE_OF_LIBRARY = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libudev.so.1": "libudev1",
    "libidn2.so.0": "libidn2-0",
    "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libSM.so.6": "libsm6",
}


def missing_libraries() -> list[str]:
    """Return the libraries that this system cannot open; always empty where wheels bring their own."""
    return [library for library in PACKAGE_OF_LIBRARY if not _opens(library)] if sys.platform == "linux" else []


def install_command(libraries: list[str]) -> list[str]:
    """Return the command that brings the libraries on Debian and Ubuntu.

    Args:
        libraries: names from `missing_libraries`.
    """
    packages = [PACKAGE_OF_LIBRARY[library] for library in libraries]
    return ["apt-get", "install", "-y", "--no-install-recommends", *packages]


def _opens(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _install_missing() -> None:
    missing = missing_libraries()
    if not missing:
        return
    command = install_command(missing)
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
        subprocess.run(command, env=quiet, check=False, stdout=subprocess.DEVNULL)
        missing = missing_libraries()
    if missing:
        sys.stderr.write(
            f"Open3D and Blender need {', '.join(missing)}, which this system lacks. On Debian or Ubuntu: "
            f"sudo {' '.join(install_command(missing))}. Everything else is being set up.\n"
        )


if __name__ == "__main__":
    _install_missing()
