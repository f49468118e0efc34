"""Runs inside Blender: light, lens and engine as a task states them, and the pictures of each view as raw passes."""

# pyright: reportMissingImports=false

import math
import time
from pathlib import Path
from typing import Any

import bpy
from mathutils import Matrix

from renderers.blender.flat_materials import flatten_materials
from renderers.blender.joined_model import JoinedModel

_PASSES = ("use_pass_z", "use_pass_normal", "use_pass_object_index", "use_pass_diffuse_color")
_NEAREST, _BALL_WITH_ROOM = 1e-3, 1.05
_ALBEDO_SAMPLES = 16  # of light there is none to be noisy: these are for the edges alone


def new_scene() -> Any:
    """An empty scene that becomes the only one once `leave_others` was called."""
    return bpy.data.scenes.new("render")


def leave_others(scene: Any) -> None:
    """Make the scene the current one and drop all others with what they ask for."""
    for window in bpy.context.window_manager.windows:
        window.scene = scene
    for other in [other for other in bpy.data.scenes if other != scene]:
        bpy.data.scenes.remove(other)


def set_lights(scene: Any, lights: list[dict[str, Any]]) -> None:
    """Light the scene.

    Args:
        scene: without lights.
        lights: {"kind": "uniform", "strength"}, {"kind": "picture", "path", "turn_degrees", "strength"} of the
            surroundings, or {"kind": "area", "matrix_world", "side", "watts", "colour"}.
    """
    for light in lights:
        match light["kind"]:
            case "uniform":
                _background(scene).inputs["Strength"].default_value = light["strength"]
                _background(scene).inputs["Color"].default_value = (1, 1, 1, 1)
            case "picture":
                _surround(scene, light)
            case "area":
                lamp = bpy.data.lights.new("area", "AREA")
                lamp.shape, lamp.size, lamp.energy, lamp.color = (
                    "SQUARE",
                    light["side"],
                    light["watts"],
                    light["colour"],
                )
                thing = bpy.data.objects.new("area", lamp)
                thing.matrix_world = Matrix(light["matrix_world"])
                thing.visible_camera = False  # it may stand in front of a camera on the other side
                scene.collection.objects.link(thing)
            case other:
                raise ValueError(f"no such light: {other}")


def _background(scene: Any) -> Any:
    if scene.world is None:
        scene.world = bpy.data.worlds.new("surroundings")
        scene.world.use_nodes = True
    return next(node for node in scene.world.node_tree.nodes if node.type == "BACKGROUND")


def _surround(scene: Any, light: dict[str, Any]) -> None:
    background = _background(scene)
    tree = scene.world.node_tree
    picture = tree.nodes.new("ShaderNodeTexEnvironment")
    picture.image = bpy.data.images.load(light["path"])
    mapping, place = tree.nodes.new("ShaderNodeMapping"), tree.nodes.new("ShaderNodeTexCoord")
    mapping.inputs["Rotation"].default_value = (0, 0, math.radians(light["turn_degrees"]))
    tree.links.new(place.outputs["Generated"], mapping.inputs["Vector"])
    tree.links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], background.inputs["Color"])
    background.inputs["Strength"].default_value = light["strength"]


def set_engine(scene: Any, render: dict[str, Any]) -> None:
    """Set everything about the renderer that is the same in all views.

    Args:
        scene: to be rendered.
        render: "engine", "device", "samples", "denoiser", "threads", "seed".
    """
    scene.render.film_transparent = True
    scene.render.use_persistent_data = True
    scene.render.use_compositing = scene.render.use_sequencer = False
    scene.render.threads_mode, scene.render.threads = "FIXED", render["threads"]
    scene.render.dither_intensity = 0
    scene.cycles.seed = render["seed"]
    scene.cycles.device = "CPU" if render["device"] == "cpu" else "GPU"
    # A pixel is the mean over its area, as in the project's fast renderer; noise is decided by samples alone.
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.use_adaptive_sampling = False
    _write_all_passes(scene)


def _write_all_passes(scene: Any) -> None:
    """Render into one uncompressed EXR of 32 bits with all passes, the same in every version of Blender."""
    image = scene.render.image_settings
    if hasattr(image, "media_type"):  # Blender 5.0 and later ask for the medium first
        image.media_type = "MULTI_LAYER_IMAGE"
    image.file_format, image.color_depth, image.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    if hasattr(image, "use_exr_interleave"):  # and newer ones put each pass into a part of its own
        image.use_exr_interleave = True
    scene.render.use_file_extension = False


def use_gpus() -> list[str]:
    """Let Cycles use every graphics card of the first kind that it can; return their names."""
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI"):
        try:
            preferences.compute_device_type = kind
        except TypeError:  # not in this build
            continue
        preferences.get_devices()
        devices = [device for device in preferences.devices if device.type == kind]
        if devices:
            for device in preferences.devices:
                device.use = device.type == kind
            return [device.name for device in devices]
    return []


def has_denoiser() -> bool:
    """Whether this build of Cycles has OpenImageDenoise (distributions leave it out)."""
    try:
        import _cycles
    except ImportError:
        return False
    return bool(getattr(_cycles, "with_openimagedenoise", False))


def render_colours(
    scene: Any, model: JoinedModel, views: list[dict[str, Any]], render: dict[str, Any], folder: Path
) -> list[float]:
    """Render the colours of each view to `NNN.colour.exr`; return the seconds that each took."""
    _ask_for(scene)
    scene.render.engine = _engine(render["engine"])
    scene.cycles.samples = render["samples"]
    scene.cycles.use_denoising = render["denoiser"] != "none"
    if scene.cycles.use_denoising:
        scene.cycles.denoiser = "OPENIMAGEDENOISE"
        scene.cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        fast = render["denoiser"] == "fast"
        scene.cycles.denoising_quality = "FAST" if fast else "HIGH"
        scene.cycles.denoising_prefilter = "NONE" if fast else "ACCURATE"
    if render["engine"] == "eevee":
        scene.eevee.taa_render_samples = render["samples"]
    return [_render(scene, model, view, folder / f"{index:03d}.colour.exr") for index, view in enumerate(views)]


def render_geometry(
    scene: Any, model: JoinedModel, views: list[dict[str, Any]], render: dict[str, Any], folder: Path
) -> list[float]:
    """Render depth, normals and perhaps object indices of each view to `NNN.geometry.exr`; return the seconds of each.

    One ray through the middle of each pixel: the passes that come with the colours lie wherever the first of the
    samples fell. Bumps, normal maps and mirroring are taken out of the materials for good, so colours come
    first.
    """
    flatten_materials()
    indices = ("use_pass_object_index",) if "object-index" in render["passes"] else ()
    _ask_for(scene, "use_pass_z", "use_pass_normal", *indices)
    scene.render.engine = "CYCLES"
    scene.cycles.use_denoising = False
    scene.cycles.samples = 1
    scene.cycles.max_bounces = 0
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = "GAUSSIAN", 0.01
    return [_render(scene, model, view, folder / f"{index:03d}.geometry.exr") for index, view in enumerate(views)]


def render_albedo(scene: Any, model: JoinedModel, views: list[dict[str, Any]], folder: Path) -> list[float]:
    """Render the base colour of each view, without light, to `NNN.albedo.exr`; return the seconds of each.

    Comes after `render_geometry`: of a flattened material what is thrown back diffusely is the base colour, a metal's
    too.
    """
    _ask_for(scene, "use_pass_diffuse_color")
    scene.cycles.samples = _ALBEDO_SAMPLES
    scene.cycles.pixel_filter_type = "BOX"
    return [_render(scene, model, view, folder / f"{index:03d}.albedo.exr") for index, view in enumerate(views)]


def _ask_for(scene: Any, *passes: str) -> None:
    """Ask for these passes beside the colours, and no others."""
    for name in _PASSES:
        setattr(scene.view_layers[0], name, name in passes)


def _engine(name: str) -> str:
    if name == "cycles":
        return "CYCLES"
    # Renamed and renamed back: 4.2 to 4.5 know EEVEE_NEXT alone.
    return "BLENDER_EEVEE_NEXT" if bpy.app.version < (5, 0, 0) else "BLENDER_EEVEE"


def _render(scene: Any, model: JoinedModel, view: dict[str, Any], path: Path) -> float:
    began = time.perf_counter()
    model.show(view["moment"])
    _set_camera(scene, view)
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True, scene=scene.name)
    return time.perf_counter() - began


def _set_camera(scene: Any, view: dict[str, Any]) -> None:
    if scene.camera is None:
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
    lens = scene.camera.data
    lens.type, lens.sensor_fit = "PERSP", view["lens"]["sensor_fit"]
    for name in ("lens", "sensor_width", "sensor_height", "shift_x", "shift_y"):
        setattr(lens, name, view["lens"][name])
    matrix = Matrix(view["matrix_world"])
    # Tight around the unit ball: EEVEE's depth has few bits, and shadows show it where the range is wide.
    along_axis = matrix.col[2].xyz.dot(matrix.translation)
    lens.clip_start = max(_NEAREST, along_axis - _BALL_WITH_ROOM)
    lens.clip_end = max(along_axis + _BALL_WITH_ROOM, lens.clip_start + 1)
    lens.dof.use_dof = False
    scene.camera.matrix_world = matrix
    scene.render.resolution_x, scene.render.resolution_y = view["width"], view["height"]
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = view["lens"]["pixel_aspect_x"]
    scene.render.pixel_aspect_y = view["lens"]["pixel_aspect_y"]
