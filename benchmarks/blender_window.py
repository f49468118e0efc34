"""A real Blender window, started, clicked and looked at by a program: buttons are found as a pointer finds them.

Blender does not say where its buttons are. The pointer is led over the sidebar, and what lies under it is asked for as
Copy Python Command and Copy Data Path would; a press at the place is then one of the display server's.
"""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from distill_core.errors import UserError

_BUILD = Path(__file__).resolve().parents[1] / "scripts" / "build_addon.py"
_SECONDS_BETWEEN_LOOKS = 0.5
_SCAN_SECONDS = 600.0
_MOST_PAGES = 12
_SHADERS_SECONDS = 300.0
"""The first picture of a material waits for its shaders to be compiled."""

# The helpers `area`, `override` and `redraw` are the window program's own.
_SCAN = """
import bpy

SCAN = {"found": {}, "done": False}

def begin_scan():
    window, editor = area("VIEW_3D")
    region = next(region for region in editor.regions if region.type == "UI")
    manager = bpy.context.window_manager
    rows = range(region.y + region.height - 8, region.y + 8, -11)
    places = iter([(region.x + int(region.width * share), y) for y in rows for share in (0.2, 0.45, 0.72, 0.83)])
    at = []

    def step():
        if at:
            with override(region="UI"):
                for call in (bpy.ops.ui.copy_python_command_button, bpy.ops.ui.copy_data_path_button):
                    manager.clipboard = ""
                    try:
                        call()
                    except RuntimeError:
                        continue
                    if manager.clipboard:
                        SCAN["found"].setdefault(manager.clipboard, []).append(at[0])
        at[:] = [place] if (place := next(places, None)) else []
        if not at:
            SCAN["done"] = True
            return None
        window.cursor_warp(*at[0])
        return 0.06

    bpy.app.timers.register(step)

begin_scan()
"""


class WindowSettings(BaseModel):
    """Which Blender, and what is made in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_program: Path = Field(
        default=Path("../shared/tools/blender_gui.sh"), description="what brings a Blender with its window"
    )
    suite: Literal["trixie", "sid"] = Field(default="trixie", description="Blender 4.3, or the newest there is")
    picture: Path = Field(
        default=Path("../shared/assets/pictures/backpack.png"), description="the picture that everything is made from"
    )
    iterations: int = Field(default=600, ge=1, description="of the fit of the splats")

    def check_files(self) -> None:
        """Find out, before any work is done, whether both files are there.

        Raises:
            UserError: one is not.
        """
        for what, file in (
            ("a program that brings Blender's window", self.window_program),
            ("a picture", self.picture),
        ):
            if not file.is_file():
                raise UserError(f"Expected {what}, but {file} is not there; name another.")


def built_extension(folder: Path) -> Path:
    """Build the extension from this checkout into a folder, and return its zip."""
    subprocess.run([sys.executable, str(_BUILD), "--output-dir", str(folder)], check=True, stdout=sys.stderr)
    (extension,) = folder.glob("onestep3d-*.zip")
    return extension


class BlenderWindow:
    """One Blender with its window; a context manager that ends it.

    Args:
        program: `blender_gui.sh`, which brings Blender and a display.
        suite: which Blender it brings: "trixie" (4.3) or "sid" (the newest).
        state: a folder of this window's own.
        size: of the screen, such as "1280x900".
        environment: variables for Blender besides this process's own.
    """

    def __init__(
        self, program: Path, suite: str, state: Path, size: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._program, self._size, self._height = program, size, int(size.partition("x")[2])
        self._environment = {**os.environ, **(environment or {}), "BLENDER_SUITE": suite, "BLENDER_STATE": str(state)}

    def __enter__(self) -> "BlenderWindow":
        """Start Blender; extensions that were installed before are there."""
        self._call("start", "--size", self._size)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        subprocess.run([str(self._program), "stop"], env=self._environment, capture_output=True, timeout=60)

    def install(self, extension: Path) -> str:
        """Install an extension, before the window is started, with Blender's own command.

        Args:
            extension: the zip.

        Returns:
            What Blender said.
        """
        return self._call(
            "blender", "--command", "extension", "install-file", "-r", "user_default", "-e", str(extension)
        )

    def run(self, code: str, *, seconds: float = 120.0) -> str:
        """Run Python in Blender, on its main thread.

        Args:
            code: its last expression is returned, as text.
            seconds: how long it may take.

        Raises:
            UserError: it failed.
        """
        return self._call("run", "--timeout", f"{seconds:.0f}", code, seconds=seconds + 30).strip()

    def value(self, expression: str, *, seconds: float = 120.0) -> object:
        """Return the value of an expression in Blender.

        Args:
            expression: whose value Python writes as it reads it: numbers, text, lists.
            seconds: how long it may take.
        """
        return ast.literal_eval(self.run(f"print(repr({expression}))", seconds=seconds).splitlines()[-1])

    def wait(self, condition: str, *, seconds: float) -> float:
        """Wait until an expression in Blender is true.

        Args:
            condition: the expression.
            seconds: how long at most.

        Returns:
            The seconds that it took.

        Raises:
            UserError: it was not true in time.
        """
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.value(f"bool({condition})"):
                return time.monotonic() - began
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        raise UserError(f"Expected {condition} within {seconds:g} s in Blender's window, but it was not.")

    def buttons(self) -> dict[str, tuple[int, int]]:
        """Return what the sidebar shows now: places on the screen, by operator or data path.

        Raises:
            UserError: the pointer did not come round.
        """
        self.run(_SCAN)
        self.wait('SCAN["done"]', seconds=_SCAN_SECONDS)
        found = self.value('{name: places for name, places in SCAN["found"].items()}')
        assert isinstance(found, Mapping)
        middle = {name: places[len(places) // 2] for name, places in found.items()}
        return {name: (int(x), self._height - int(y)) for name, (x, y) in middle.items()}

    def press(self, name: str) -> None:
        """Press a button of the sidebar, which is scrolled to where it is.

        Args:
            name: begin of the operator (`bpy.ops.onestep3d.make_splats`) or data path.

        Raises:
            UserError: there is no such button.
        """
        self.click(*self.find(name))

    def click(self, x: int, y: int, times: int = 1) -> None:
        """Click with the left button, and leave the pointer there.

        Args:
            x: on the screen, px from the left.
            y: px from the top.
            times: clicks in a row, as fast as a person's.
        """
        self._call("click", str(x), str(y), "1", str(times))

    def find(self, name: str) -> tuple[int, int]:
        """Return the place of a button on the screen, the sidebar scrolled to where it is.

        Args:
            name: as for `press`.

        Raises:
            UserError: there is no such button.
        """
        place = self._sidebar()
        seen: set[str] = set()
        for scrolled in (0, -60, *[12] * _MOST_PAGES):
            if scrolled:
                self._call("scroll", *map(str, place), str(scrolled))
            if scrolled < 0:
                seen = set()  # the first look was somewhere in the middle
            found = self.buttons()
            for button, where in found.items():
                if button.startswith(name):
                    return where
            if scrolled > 0 and set(found) <= seen:
                break
            seen |= set(found)
        raise UserError(f"Expected a button {name} in the sidebar, got {', '.join(sorted(seen)) or 'none'}.")

    def enter(self, name: str, text: str) -> None:
        """Type a text into a field of the sidebar.

        Args:
            name: data path of the field.
            text: takes the place of what was there.
        """
        self.click(*self.find(name), times=2)
        self._call("key", "ctrl+a")
        self._call("type", text)
        self._call("key", "Return")

    def screenshot(self, file: Path) -> None:
        """Take a picture of the window, the pointer out of the way.

        Args:
            file: a .png or .jpg to write.
        """
        from PIL import Image

        self._call("move", "400", "860")
        self.run("redraw(1) and None", seconds=_SHADERS_SECONDS)
        png = file.with_suffix(".window.png")
        self._call("screenshot", str(png))
        with Image.open(png) as picture:
            picture.convert("RGB").save(file, quality=88)
        png.unlink()

    def log(self) -> str:
        """Return what Blender wrote to its terminal."""
        return self._call("log", "400")

    def _sidebar(self) -> tuple[int, int]:
        for line in self._call("rects").splitlines():
            editor, region, *numbers = line.split()
            if (editor, region) == ("VIEW_3D", "UI"):
                x, y, width, height = map(int, numbers)
                return x + width // 2, y + height // 2
        raise UserError("Expected the sidebar to be open in Blender's window, but it is not.")

    def _call(self, *arguments: str, seconds: float = 300.0) -> str:
        done = subprocess.run(
            [str(self._program), *arguments], env=self._environment, capture_output=True, text=True, timeout=seconds
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"status {done.returncode}"]
            raise UserError(f"Blender's window: {arguments[0]} failed: {said[-1]}")
        return done.stdout
