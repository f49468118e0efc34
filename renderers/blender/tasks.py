"""What a worker is told about one object: plain JSON, a pure function of the object, the settings and the seed."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from distill_core.camera_conventions import camera_to_blender, pose_to_opengl
from distill_core.cameras import Camera, look_at
from distill_core.errors import UserError
from renderers.blender.rigs import Rig
from renderers.blender.settings import AnimationSettings, DatasetSettings, RenderSettings

_LIGHT_DISTANCE, _LIGHT_SIDE = 4.0, 2.0


def object_seed(seed: int, uid: str) -> int:
    """The seed of one object's cameras, lights and noise: the same whichever objects are rendered before it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{uid}".encode()).digest()[:4], "big") >> 1


def worker_task(
    model: Path, name: str, output: Path, rig: Rig, settings: DatasetSettings, *, seed: int, threads: int
) -> dict[str, Any]:
    """The task of rendering one object, as `worker.render_task` takes it.

    Args:
        model: the file.
        name: the object's, for messages.
        output: an existing folder for the raw passes.
        rig: its cameras.
        settings: of the job.
        seed: of this object.
        threads: that the worker may use.
    """
    return {
        "model": str(model.absolute()),
        "name": name,
        "output": str(output.absolute()),
        "up_axis": None if settings.up_axis == "auto" else settings.up_axis,
        "normalisation": rig.normalisation,
        "animation": animation(settings.animation),
        "views": task_views(rig.cameras, settings.animation),
        "lights": lights(settings.render, seed),
        "render": {
            "engine": settings.render.engine,
            "device": settings.render.render_device,
            "samples": settings.render.samples,
            "denoiser": settings.render.denoiser,
            "passes": list(settings.render.passes),
            "threads": threads,
            "seed": seed,
        },
    }


def animation(settings: AnimationSettings) -> dict[str, Any] | None:
    """The moments to be rendered, as `moments.choose_clip` takes them; None renders the model at rest."""
    return {"clip": settings.clip, "times": list(settings.times)} if settings.times else None


def task_views(cameras: Sequence[Camera], settings: AnimationSettings) -> list[dict[str, Any]]:
    """The views in a record's order: all cameras at the first moment, then at the second."""
    views = [blender_view(camera) for camera in cameras]
    return [view | {"moment": moment} for moment in range(max(1, len(settings.times))) for view in views]


def check_animation(settings: AnimationSettings) -> None:
    """See that a clip is named only where moments of it are asked for.

    Raises:
        UserError: it is not so.
    """
    if settings.clip is not None and settings.frames is None:
        raise UserError(
            f"Expected --frames beside --clip, got --clip {settings.clip} alone; say how many moments to render."
        )


def blender_view(camera: Camera) -> dict[str, Any]:
    """A camera as Blender's properties."""
    lens, matrix_world = camera_to_blender(camera)
    return {
        "width": camera.width,
        "height": camera.height,
        "lens": dataclasses.asdict(lens),
        "matrix_world": matrix_world.tolist(),
    }


def lights(settings: RenderSettings, seed: int) -> list[dict[str, Any]]:
    """The lights of one object, as `scene.set_lights` takes them.

    Area lights are a key, a fill and a rim light and a little light from everywhere; together they light a white
    surface that faces the key to about 1, so that little is overexposed.
    """
    generator = np.random.default_rng([seed, 1])
    match settings.lighting:
        case "uniform":
            return [{"kind": "uniform", "strength": 1.0}]
        case "area-lights":
            key = float(generator.uniform(0, 360))
            return [
                {"kind": "uniform", "strength": float(generator.uniform(0.25, 0.4))},
                _area_light(key, generator.uniform(20, 70), generator.uniform(0.4, 0.6), generator),
                _area_light(key + generator.uniform(90, 150), generator.uniform(0, 50), 0.2, generator),
                _area_light(key + generator.uniform(170, 250), generator.uniform(10, 60), 0.3, generator),
            ]
        case Path():
            turn = float(generator.uniform(0, 360))
            return [
                {"kind": "picture", "path": str(settings.lighting.absolute()), "turn_degrees": turn, "strength": 1.0}
            ]
        case _:
            assert_never(settings.lighting)


def check_lighting(settings: RenderSettings) -> None:
    """See that a picture of the surroundings is there.

    Raises:
        UserError: it is not, or is no picture of light.
    """
    if isinstance(settings.lighting, Path) and not (
        settings.lighting.suffix.lower() in (".hdr", ".exr") and settings.lighting.is_file()
    ):
        raise UserError(
            "--lighting: expected area-lights, uniform or an .hdr or .exr file, "
            f"got {settings.lighting}; check the path."
        )


def _area_light(
    azimuth_degrees: float, elevation_degrees: float, radiance: float, generator: np.random.Generator
) -> dict[str, Any]:
    """A light that a white surface facing it at the origin throws back with this radiance."""
    azimuth, elevation = np.radians(azimuth_degrees), np.radians(elevation_degrees)
    position = _LIGHT_DISTANCE * np.array(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    # A Lambertian emitter of P watts gives P / (pi d^2) at a distance d, of which white throws back 1 / pi.
    watts = radiance * np.pi**2 * _LIGHT_DISTANCE**2
    warmth = generator.uniform(-0.08, 0.08)
    return {
        "kind": "area",
        "matrix_world": pose_to_opengl(look_at(position)).tolist(),  # area lights shine along -z, as cameras look
        "side": _LIGHT_SIDE,
        "watts": float(watts),
        "colour": [float(1 + min(warmth, 0)), float(1 - abs(warmth) / 2), float(1 - max(warmth, 0))],
    }
