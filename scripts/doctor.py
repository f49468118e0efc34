"""Say what this machine has, what is missing, and what works without it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from distill_core.progress import Progress
from scripts.command_line import run, say

_REPOSITORY = Path(__file__).resolve().parents[1]
_MINIMUM_PYTHON = (3, 11)


class DoctorSettings(BaseModel):
    """The doctor asks for nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Finding:
    """One thing looked for: whether it is there, in which version, and what follows when it is not."""

    what: str
    present: bool
    detail: str = ""
    without: str = ""
    remedy: str = ""


def main(settings: DoctorSettings, progress: Progress) -> None:
    """Look at everything and say what was found."""
    from scripts.machine import available_cores, memory_gib, processor_name

    say(f"{processor_name()}, {available_cores()} cores, {memory_gib()} GiB of memory")
    missing = []
    for finding in findings():
        say(f"  {'ok' if finding.present else 'missing':<8} {finding.what:<34} {finding.detail}".rstrip())
        if not finding.present:
            missing.append(finding)
    if not missing:
        say("Nothing is missing.")
    for finding in missing:
        say()
        say(f"Without {finding.what}: {finding.without}")
        say(f"  {finding.remedy}")


def findings() -> Iterator[Finding]:
    """Look for one thing after another; slow imports happen in processes of their own."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "Python 3.11 or newer",
        sys.version_info >= _MINIMUM_PYTHON,
        version,
        "nothing here runs.",
        "Install Python 3.11 and run: make setup PYTHON=python3.11",
    )
    yield from _torch_findings()
    yield from _open3d_findings()
    yield _module(
        "gsplat", "splats on a GPU", "splats are drawn on the CPU, which suits up to some 100,000 of them.", "gpu"
    )
    yield _module("viser", "viewer in the browser", "--viewer does not work; .ply files open in any viewer.", "viewer")
    yield _module("ray", "rendering on a cluster", "--cluster does not work; one machine renders alone.", "cluster")
    yield _module(
        "lpips", "LPIPS, a measure", "evaluations leave it out and name a stand-in of random features.", "metrics"
    )
    yield _module(
        "diffusers", "published checkpoints", "the small checkpoint that ships here does all jobs.", "pretrained"
    )
    yield _video_encoder()
    yield _checkpoint()
    yield _blender()


def _torch_findings() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", False, str(error), "nothing but --help works.", "Run: make setup")
        return
    yield Finding("torch", True, torch.__version__)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    yield Finding(
        "bfloat16 in the processor",
        native,
        torch.backends.cpu.get_cpu_capability(),
        "training on the CPU in bfloat16 works, but takes two to three times as long.",
        "Nothing can be installed for it; train on a machine that has it, or on a GPU.",
    )
    cuda = torch.cuda.is_available()
    yield Finding(
        "a CUDA device",
        cuda,
        torch.cuda.get_device_name() if cuda else "",
        "everything runs on the CPU: one picture takes a minute, training takes hours instead of minutes.",
        "With an NVIDIA card: install its driver and torch's CUDA build, then the extra gpu.",
    )


def _open3d_findings() -> Iterator[Finding]:
    from scripts.system_libraries import install_command, missing_libraries

    # A library that is not there can end the process that opens it.
    done = subprocess.run(
        [sys.executable, "-c", "import open3d; print(open3d.__version__)"], capture_output=True, text=True
    )
    libraries = missing_libraries()
    remedy = f"On Debian or Ubuntu: sudo {' '.join(install_command(libraries))}" if libraries else "Run: make setup"
    yield Finding(
        "Open3D, rays against meshes",
        done.returncode == 0,
        done.stdout.strip() if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it crashed"])[-1],
        "pictures become splats as before; visibility of meshes cannot be computed.",
        remedy,
    )


def _module(name: str, what: str, without: str, extra: str) -> Finding:
    from scripts.machine import installed_version

    version = installed_version(name)
    return Finding(
        f"{name}, {what}",
        version is not None,
        version or "",
        without,
        f"Run: {Path(sys.executable).name} -m pip install --constraint constraints.txt --editable '.[{extra}]'",
    )


def _video_encoder() -> Finding:
    try:
        import imageio_ffmpeg

        detail = imageio_ffmpeg.get_ffmpeg_version()
    except (ImportError, RuntimeError, OSError):
        detail = ""
    return Finding(
        "ffmpeg, for turntables", bool(detail), detail, "turntable.mp4 cannot be written.", "Run: make setup"
    )


def _checkpoint() -> Finding:
    file = _REPOSITORY / "checkpoints" / "small" / "model.safetensors"
    found = file.is_file()
    return Finding(
        "the small checkpoint",
        found,
        f"{file.relative_to(_REPOSITORY)}, {file.stat().st_size / 1e6:.0f} MB" if found else "",
        "image_to_3dgs.py and generate_views.py cannot run; fitting splats to posed pictures works.",
        "Get the whole repository, or train one: scripts/train.py --help",
    )


def _blender() -> Finding:
    program = shutil.which("blender")
    return Finding(
        "Blender on the path",
        program is not None,
        program or "",
        "all programs here work; only work inside Blender needs it.",
        "Install Blender 4.2 or newer from its own site.",
    )


if __name__ == "__main__":
    run(main, DoctorSettings, description=__doc__)
