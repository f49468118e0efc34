"""Generated views in the scene: images, cameras that show them, a collection that holds the cameras."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bpy

from ..queueing.job_requests import JobError
from ..references import Reference
from .camera_conversion import intrinsics_of, pose_of, set_camera
from .contact_sheet import contact_sheet, show_image

_CAMERA_SIZE = 0.2
_SOURCE = "input.png"
"""What the worker calls the picture that it made the views from."""


def add_views(
    folder: Path, name: str, scene: Reference, seed: int, steps: int, picture_settings: Mapping[str, Any]
) -> Iterator[None]:
    """Add the views of a finished job to a scene, one a step.

    Args:
        folder: of the job's results.
        name: of the picture.
        scene: where to.
        seed: of the job.
        steps: of the sampler.
        picture_settings: how the picture was taken, as the job had it.

    Raises:
        JobError: the scene is gone, or the results are not as they should be.
    """
    described = read_transforms(folder / "transforms.json")
    frames = described.pop("frames")
    yield
    if frames:
        _load_first_picture(folder / frames[0]["file_path"])
        yield
    target = _scene(scene)
    collection = bpy.data.collections.new(f"Views of {name}")
    target.collection.children.link(collection)
    kept = Reference.of(collection)
    about = collection.onestep3d_views
    about.folder, about.picture, about.steps = str(folder.parent), name, steps
    about.picture_settings = json.dumps(dict(picture_settings))
    about.shared = json.dumps(described)
    try:
        for place, frame in enumerate(frames):
            yield
            _add_view(_collection(kept), folder, f"{name} {_kind(frame, place)}", frame, described, seed)
    except BaseException:
        if (collection := kept.found()) is not None:
            _remove(collection)
        raise
    yield
    collection = _collection(kept)
    _scene(scene).onestep3d.views = collection
    for _ in contact_sheet(collection):
        yield
    if collection.onestep3d_views.sheet is not None:
        show_image(collection.onestep3d_views.sheet)


def _add_view(
    collection: bpy.types.Collection,
    folder: Path,
    name: str,
    frame: Mapping[str, Any],
    shared: Mapping[str, Any],
    seed: int,
) -> None:
    image = load_picture(folder / frame["file_path"], name)
    camera = _camera(image, frame, shared)
    collection.objects.link(camera)
    view = camera.onestep3d_view
    view.frame, view.image, view.seed = json.dumps(frame), image, seed
    view.is_source = frame["file_path"] == _SOURCE


def _kind(frame: Mapping[str, Any], place: int) -> str:
    return "source" if frame["file_path"] == _SOURCE else f"view {place:03d}"


def _remove(collection: bpy.types.Collection) -> None:
    """Take a collection of views and all that was made for it out of the file."""
    for camera in list(collection.objects):
        lens, image = camera.data, camera.onestep3d_view.image
        bpy.data.objects.remove(camera)
        bpy.data.cameras.remove(lens)
        if image is not None and image.users == 0:
            bpy.data.images.remove(image)
    bpy.data.collections.remove(collection)


def exchange_view(folder: Path, camera: Reference, seed: int) -> Iterator[None]:
    """Give a camera the view of another seed.

    Args:
        folder: of the job's results: one view, perhaps beside its source.
        camera: that shows the view.
        seed: of the new view.

    Raises:
        JobError: the camera is gone, or the results are not as they should be.
    """
    target = camera.found()
    if target is None or not target.onestep3d_view.frame:
        raise JobError(
            f"The camera {camera.name} is gone, and with it the place of this view. Generate the views anew."
        )
    frames = [frame for frame in read_transforms(folder / "transforms.json")["frames"] if frame["file_path"] != _SOURCE]
    if len(frames) != 1:
        raise JobError(f"Expected one view from the worker, got {len(frames)}. Update the worker.")
    view, before = target.onestep3d_view, target.onestep3d_view.image
    name = before.name if before is not None else target.name
    image = load_picture(folder / frames[0]["file_path"], name)
    view.image, view.seed, view.discarded = image, seed, False
    for background in target.data.background_images:
        background.image = image
    if before is not None and before.users == 0:
        bpy.data.images.remove(before)
        image.name = name
    yield
    for collection in [found for found in target.users_collection if found.onestep3d_views.shared]:
        for _ in contact_sheet(collection):
            yield


def record_files(collection: bpy.types.Collection, cameras: list[bpy.types.Object]) -> dict[str, bytes]:
    """Return views as the files of a record: transforms.json and the pictures.

    Args:
        collection: of the views.
        cameras: which of them.

    Raises:
        JobError: a view's image is gone or no longer in the file.
    """
    files: dict[str, bytes] = {}
    frames = []
    for place, camera in enumerate(cameras):
        view = camera.onestep3d_view
        if view.image is None or view.image.packed_file is None:
            raise JobError(f"The image of {camera.name} is gone. Discard this view, or make it with another seed.")
        name = _SOURCE if view.is_source else f"views/{place:03d}.png"
        files[name] = bytes(view.image.packed_file.data)
        frames.append({**json.loads(view.frame), "file_path": name})
    shared = json.loads(collection.onestep3d_views.shared)
    return {"transforms.json": json.dumps({**shared, "frames": frames}).encode(), **files}


def read_transforms(file: Path) -> dict[str, Any]:
    """Return a worker's transforms.json.

    Args:
        file: of a result.

    Raises:
        JobError: it is not there or not as it should be.
    """
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
        names = [frame["file_path"] for frame in described["frames"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise JobError("Expected views and their transforms.json from the worker, got others. Update it.") from None
    inside = file.parent.resolve()
    if not all(isinstance(name, str) and (inside / name).resolve().is_relative_to(inside) for name in names):
        raise JobError("Expected pictures inside the result's folder, got others. Update the worker.")
    for frame in described["frames"]:
        intrinsics_of(frame, described)
        pose_of(frame)
    return described


def _load_first_picture(file: Path) -> None:
    """Load a picture and let go of it: the first of a session takes Blender as long as six more, which fills a step."""
    try:
        bpy.data.images.remove(bpy.data.images.load(str(file)))
    except RuntimeError:
        return  # said where the picture is added


def load_picture(file: Path, name: str) -> bpy.types.Image:
    """Load a picture and keep it in the Blender file.

    Args:
        file: of a result.
        name: of the image.

    Raises:
        JobError: it cannot be read.
    """
    try:
        image = bpy.data.images.load(str(file))
    except RuntimeError as error:
        raise JobError(f"Blender cannot read {file}: {' '.join(str(error).split())} Run the job again.") from None
    if min(image.size) == 0:
        bpy.data.images.remove(image)
        raise JobError(f"Expected a picture from the worker, got another file, {file}. Update the worker.")
    image.pack()
    image.name = name
    image.preview_ensure()
    return image


def _camera(image: bpy.types.Image, frame: Mapping[str, Any], shared: Mapping[str, Any]) -> bpy.types.Object:
    """A camera that stands where the picture was made, with the picture behind what it sees."""
    data = bpy.data.cameras.new(image.name)
    camera = bpy.data.objects.new(image.name, data)
    set_camera(camera, frame, shared)
    data.display_size = _CAMERA_SIZE
    data.show_background_images = True
    background = data.background_images.new()
    background.image, background.alpha, background.frame_method = image, 1.0, "FIT"
    return camera


def _scene(scene: Reference) -> bpy.types.Scene:
    found = scene.found()
    if found is None:
        raise JobError(f"The scene {scene.name} is gone, which the result was made for. Run the job again in another.")
    return found


def _collection(collection: Reference) -> bpy.types.Collection:
    found = collection.found()
    if found is None:
        raise JobError(f"The collection {collection.name} was removed while it was filled. Run the job again.")
    return found
