"""The extension in every Blender that it is made for: validated, installed, enabled and disabled twice, and left clean.

The zip is built from this checkout. Blender's Python modules of several versions are installed into environments of
their own (some 400 MB each, once); each validates the zip, installs it with its own command and runs the same script.
The process then ends with the extension enabled, as a person's does. What does not hold ends the measurement.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.blender_window import built_extension
from distill_core.errors import UserError

_MODULE = "bl_ext.user_default.onestep3d"
_INSTALL_SECONDS, _RUN_SECONDS = 1800.0, 300.0
_COMPLAINTS = ("Warning", "WARN", "Error", "ERROR", "Traceback", "leak")
# What Blender says by itself, with or without the extension; the last two are Python's warnings about files that
# Blender's own extension manager leaves open.
_HARMLESS = (
    *("CUEW", "Wayland", "wayland", "XDG_RUNTIME_DIR", "key-config", "libdecor", "Warning: Cycles"),
    *("addons_core", "Enable tracemalloc"),
)

# Validates the zip given first in the Blender that runs this, by the program behind its command `extension`.
_VALIDATE = """
import pathlib, runpy, sys
import bpy
program = pathlib.Path(bpy.utils.system_resource("SCRIPTS"), "addons_core", "bl_pkg", "cli", "blender_ext.py")
sys.argv = [str(program), "validate", sys.argv[1]]
runpy.run_path(str(program), run_name="__main__")
"""

TWICE = f"""
import json, sys
import bpy, addon_utils
name = "{_MODULE}"
handlers = ("load_pre", "load_post", "depsgraph_update_post", "save_pre", "undo_post")
def kept():
    return {{
        "handlers": [len(getattr(bpy.app.handlers, handler)) for handler in handlers],
        "entries": [len(getattr(getattr(bpy.types, menu).draw, "_draw_funcs", ()))
                    for menu in ("TOPBAR_MT_file_import", "TOPBAR_MT_file_export")],
        "classes": sorted(kind for kind in dir(bpy.types) if "onestep3d" in kind.lower()),
        "properties": [hasattr(bpy.types.Scene, "onestep3d"), hasattr(bpy.types.Scene, "onestep3d_texture")],
    }}
found = {{"installed": name in bpy.context.preferences.addons, "version": bpy.app.version_string}}
addon_utils.disable(name)
states = [kept()]
for _ in range(2):
    assert addon_utils.enable(name) is not None
    on = kept()
    tick = sys.modules[name + ".jobs"].tick
    found["timer"] = bpy.app.timers.is_registered(tick)
    addon_utils.disable(name)
    found["timer after"] = bpy.app.timers.is_registered(tick)
    states.append(kept())
found["states"], found["on"] = states, on
assert addon_utils.enable(name) is not None
found["slow"] = sorted({{"torch", "numba", "scipy", "pydantic"}} & set(sys.modules))
print("RESULT " + json.dumps(found), flush=True)
"""
"""What the extension leaves behind after each of two times, as a line of JSON; ends with it enabled."""

_INSTALL = """
import sys
import bpy
bpy.ops.extensions.package_install_files(
    filepath=sys.argv[1], repo="user_default", enable_on_install=True, overwrite=True
)
"""


class Settings(BaseModel):
    """Which versions, and where their environments are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: tuple[str, ...] = Field(
        default=("4.2.0", "4.5.15", "5.0.1"), min_length=1, description="of Blender's Python module, bpy"
    )
    environments: Path = Field(
        default=Path("out/blender-versions"), description="folder of their environments, kept for the next time"
    )
    python: str = Field(default="python3.11", description="the Python that these modules are built for")


def run(settings: Settings) -> dict[str, Any]:
    """Take the extension through each version.

    Args:
        settings: which versions.

    Raises:
        UserError: an environment cannot be made, or something does not hold.
    """
    with tempfile.TemporaryDirectory() as temporary:
        extension = built_extension(Path(temporary))
        rows = [_checked(version, extension, Path(temporary, version), settings) for version in settings.versions]
    return {"versions": rows}


def complaints(said: str) -> list[str]:
    """The lines in which a Blender complains of more than it does by itself.

    Args:
        said: all that it wrote.
    """
    return [
        line
        for line in said.splitlines()
        if any(word in line for word in _COMPLAINTS) and not any(harmless in line for harmless in _HARMLESS)
    ]


def problems(found: dict[str, Any]) -> list[str]:
    """What does not hold of what `TWICE` found, in words.

    Args:
        found: its line of JSON.
    """
    before, once, twice = found["states"]
    held = {
        "it is not enabled after its installation": found["installed"],
        "something is left after it was disabled": before == once == twice,
        "classes are left after it was disabled": before["classes"] == [],
        "properties are left after it was disabled": before["properties"] == [False, False],
        "its panels are missing": "ONESTEP3D_PT_texture" in found["on"]["classes"],
        "a timer runs before anything was asked for": not found["timer"],
        "a timer is left": not found["timer after"],
        f"Blender holds {', '.join(found['slow'])}": found["slow"] == [],
    }
    return [problem for problem, holds in held.items() if not holds]


def _checked(version: str, extension: Path, resources: Path, settings: Settings) -> dict[str, Any]:
    """The figures of one version, all of whose conditions hold."""
    python = _environment(version, settings)
    resources.mkdir()

    def said_by(script: str) -> str:
        done = subprocess.run(
            [str(python), "-W", "default", "-c", script, str(extension)],
            env={**os.environ, "BLENDER_USER_RESOURCES": str(resources), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
        )
        said = done.stdout + done.stderr
        complained = complaints(said)
        if done.returncode != 0 or complained:
            why = f"status {done.returncode}" if done.returncode != 0 else complained[0]
            raise UserError(f"Expected bpy {version} to take the extension without a word, got {why}: {said[-1500:]}")
        return said

    validated = said_by(_VALIDATE)
    if "Success" not in validated:
        raise UserError(f"Expected bpy {version} to validate the extension, got: {validated[-1500:]}")
    # In one process: Blender's module reads no preferences when it starts.
    said = said_by(_INSTALL + TWICE)
    found = json.loads(next(line for line in said.splitlines() if line.startswith("RESULT ")).removeprefix("RESULT "))
    if wrong := problems(found):
        raise UserError(f"In bpy {version}: {'; '.join(wrong)}.")
    return {
        "version": found["version"],
        "classes": len(found["on"]["classes"]),
        "classes_left": len(found["states"][-1]["classes"]),
        "timers_left": int(found["timer after"]),
        "slow_modules": found["slow"],
        "complaints": complaints(said),
    }


def _environment(version: str, settings: Settings) -> Path:
    """The Python of an environment with one version of bpy; made where it is not there or not whole."""
    folder = (settings.environments / version).absolute()
    python, whole = folder / "bin" / "python", folder / ".complete"
    if not whole.is_file():
        # The first modules name no bound for numpy and were built for versions before 2.
        for command in (
            [settings.python, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "-qq", f"bpy=={version}", "numpy<2"],
        ):
            try:
                subprocess.run(command, check=True, stdout=sys.stderr, timeout=_INSTALL_SECONDS)
            except (OSError, subprocess.SubprocessError) as error:
                raise UserError(f"Expected an environment with bpy {version} in {folder}, got: {error}") from None
        whole.touch()
    return python


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    lines = [
        "| Blender | classes registered | left after twice | warnings | timers left | torch and its kin in Blender |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in result["versions"]:
        slow = ", ".join(row["slow_modules"]) or "none"
        figures = (row["classes"], row["classes_left"], len(row["complaints"]), row["timers_left"], slow)
        lines.append(f"| {row['version']} | {' | '.join(map(str, figures))} |")
    return "\n".join(lines)
