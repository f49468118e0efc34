"""Runs inside Blender (the bpy module or an executable): tasks in as lines of JSON, raw passes out as files.

It is started by `worker_process` and imports nothing of the project outside its folder. Standard input carries one
task a line; answers go to what was standard output, one line each; whatever Blender itself prints goes to standard
error. Answers: {"event": "hello", ...} first, then for each task one of "done", "refused" (the model is at fault) or
"failed" (we or Blender are). When the input ends, so does the worker, in whatever it is doing.
"""

# pyright: reportMissingImports=false

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

if __name__ == "__main__":
    # Before anything of Blender prints: it owns standard output, and imports print too.
    _ANSWERS: TextIO | None = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
else:
    _ANSWERS = None

import bpy

from renderers.blender.joined_model import LARGEST_INDEX, JoinedModel, join_model, join_moments
from renderers.blender.model_import import Refused, empty_blender, import_model, importable_file_types
from renderers.blender.moments import choose_clip
from renderers.blender.scene import (
    has_denoiser,
    leave_others,
    new_scene,
    render_albedo,
    render_colours,
    render_geometry,
    set_engine,
    set_lights,
    use_gpus,
)


def render_task(task: dict[str, Any]) -> dict[str, Any]:
    """Render one model; the passes of view n are `NNN.colour.exr`, `NNN.geometry.exr` and perhaps `NNN.albedo.exr`.

    Args:
        task: "model" and "output" (paths), "name", "up_axis", "normalisation", "animation", "views", "lights",
            "render".

    Returns:
        The answer's fields: the transform, faces, names of the objects, the axis that was up, missing textures, what
        is known of the animation (None at rest), and seconds a stage.

    Raises:
        Refused: the model cannot be rendered.
    """
    began = time.perf_counter()
    folder = Path(task["output"])
    empty_blender()
    imported = import_model(Path(task["model"]), task["up_axis"], at_rest=task["animation"] is None)
    scene = new_scene()
    model, animation = _joined(scene, task)
    if "object-index" in task["render"]["passes"] and len(model.names) > LARGEST_INDEX:
        raise Refused(f"{task['name']}: expected at most {LARGEST_INDEX:,} objects to tell apart; leave the pass out.")
    leave_others(scene)
    ready = time.perf_counter()
    set_lights(scene, task["lights"])
    set_engine(scene, task["render"])
    if task["render"]["device"] == "gpu":
        use_gpus()  # preferences were reset with everything else
    seconds = {"import": ready - began}
    seconds["colours"] = sum(render_colours(scene, model, task["views"], task["render"], folder))
    # Materials are flattened for these, for good.
    seconds["geometry"] = sum(render_geometry(scene, model, task["views"], task["render"], folder))
    if "albedo" in task["render"]["passes"]:
        seconds["albedo"] = sum(render_albedo(scene, model, task["views"], folder))
    return {
        "source_to_object": model.source_to_object,
        "num_faces": model.num_faces,
        "objects": model.names,
        "up_axis": imported.up_axis,
        "missing_textures": imported.missing_textures,
        "animation": animation,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
    }


def _joined(scene: Any, task: dict[str, Any]) -> tuple[JoinedModel, dict[str, Any] | None]:
    wanted = task["animation"]
    if wanted is None:
        return join_model(scene, task["normalisation"], task["name"]), None
    states_range = Path(task["model"]).suffix.lower() in (".blend", ".usd", ".usda", ".usdc", ".usdz")
    clip = choose_clip(bpy.context.scene, wanted["clip"], scene_states_range=states_range, name=task["name"])
    model = join_moments(scene, clip, wanted["times"], task["normalisation"], task["name"])
    return model, {"clip": clip.name, "seconds": round(clip.seconds, 6)}


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"event": "done", **render_task(task)}
    except Refused as error:
        return {"event": "refused", "reason": str(error)}
    except MemoryError:
        return {"event": "failed", "reason": "it wants more memory than it may have"}
    except Exception as error:
        traceback.print_exc()
        return {"event": "failed", "reason": f"{type(error).__name__}: {error}"}


def _hello() -> dict[str, Any]:
    return {
        "event": "hello",
        "pid": os.getpid(),
        "blender": bpy.app.version_string,
        "python": sys.version.split()[0],
        "file_types": importable_file_types(),
        "denoiser": has_denoiser(),
        "gpus": use_gpus(),
    }


def _die_with_parent() -> None:
    """On Linux the kernel ends this process with the one that started it, even in the middle of a hung import."""
    if sys.platform != "linux":
        return
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL))


def _limit_memory(limit_bytes: int) -> None:
    if sys.platform == "linux":
        import resource

        _, hardest = resource.getrlimit(resource.RLIMIT_DATA)
        limit = limit_bytes if hardest == resource.RLIM_INFINITY else min(limit_bytes, hardest)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read_tasks(tasks: "queue.SimpleQueue[str]") -> None:
    """Pass lines on; the end of the input ends the process from this thread, since the main one may hang."""
    for line in sys.stdin:
        tasks.put(line)
    os._exit(0)


def serve(answers: TextIO) -> None:
    """Answer tasks until the input ends; leaves without Blender's own clean-up, which some versions crash in.

    Args:
        answers: one line of JSON a task.
    """
    # Ctrl-C goes to the whole group of the terminal; the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    options = json.loads(sys.stdin.readline())
    _limit_memory(options["memory_bytes"])
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_tasks, args=(tasks,), daemon=True).start()
    _say(answers, _hello())
    while True:
        _say(answers, _answer(json.loads(tasks.get())))


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if _ANSWERS is not None:
    serve(_ANSWERS)
