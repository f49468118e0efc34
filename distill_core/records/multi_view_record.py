"""Records: pictures of one thing with their cameras, as a folder on disk and as a value in memory.

A record on disk is a nerfstudio folder: `transforms.json`, `images/NNN.png`, and perhaps `depth/NNN.png` (16 bit, 0.001
units a step), `normals/NNN.png`, `albedo/NNN.png` and `object_indices/NNN.png` (16 bit); frames of a scene that moves
have a `time`, 0 to 1, as nerfstudio's do; what only this project knows stands under the key `onestep3d`. Captures by
others are read as they are: NeRF-synthetic, instant-ngp, COLMAP, CO3D. Pictures are read when they are asked for.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt16

from distill_core.cameras import Camera
from distill_core.errors import UserError
from distill_core.pictures.images import write_png
from distill_core.records import co3d, colmap, transforms_files
from distill_core.records.depth_files import depth_steps, encode_grey16
from distill_core.records.record_files import (
    StatedView,
    ViewFiles,
    locate_views,
    read_albedo,
    read_colours,
    read_depth,
    read_normals,
    read_object_indices,
)

_OWN_ENTRIES = {"transforms.json", "images", "depth", "normals", "albedo", "object_indices"}


class LazyViews:
    """A sequence of arrays, one a view, each read when it is indexed; `numpy.asarray` reads and stacks all."""

    def __init__(self, readers: Sequence[Callable[[], np.ndarray]]) -> None:
        self._readers = list(readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._readers[index]()

    def __iter__(self) -> Iterator[np.ndarray]:
        return (reader() for reader in self._readers)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        views = list(self)
        shapes = {view.shape for view in views}
        if len(shapes) > 1:
            raise UserError(
                f"Expected pictures of one size, got {sorted(shape[::-1][:2] for shape in shapes)} (width, height); "
                "read and resize them one by one."
            )
        stacked = np.stack(views)
        return stacked if dtype is None else stacked.astype(dtype)

    def subset(self, indices: Sequence[int]) -> "LazyViews":
        """The same views in another choice or order."""
        return LazyViews([self._readers[index] for index in indices])


@dataclass(frozen=True)
class RecordView:
    """One view, read.

    Attributes:
        camera: fits the picture; `camera.resized` fits depth or normals of another size.
        rgba: straight RGBA, sRGB values in 0..1.
        depth: z-depth in world units, 0 where empty.
        normals: unit, world space, 0 where empty.
        name: the picture's path in its capture.
        albedo: base colour, straight RGBA, sRGB values in 0..1.
        object_indices: numbers of the objects, counted from 1, 0 where empty.
        time: of a scene that moves.
    """

    camera: Camera
    rgba: Float[np.ndarray, "4 height width"]
    depth: Float[np.ndarray, "depth_height depth_width"] | None
    normals: Float[np.ndarray, "3 normals_height normals_width"] | None
    name: str
    albedo: Float[np.ndarray, "4 height width"] | None = None
    object_indices: UInt16[np.ndarray, "height width"] | None = None
    time: float | None = None


@dataclass(frozen=True, eq=False)
class MultiViewRecord:
    """Pictures of one thing with their cameras.

    Attributes:
        cameras: one a view.
        pictures: straight RGBA, sRGB values in 0..1; lazily read ones may differ in size.
        depth: z-depth in world units, 0 where empty, perhaps smaller than the pictures.
        normals: unit, world space, 0 where empty.
        metadata: plain JSON values: normalisation, source hash, licence, renderer and settings.
        names: the pictures' paths in their capture; empty for a record made in memory.
        albedo: base colours, straight RGBA, sRGB values in 0..1.
        object_indices: numbers of the objects, counted from 1 in the order of the metadata's `objects`, 0 where empty.
        times: of the views of a scene that moves, 0 to 1 in this project's own records; empty for a still one.

    Raises:
        ValueError: another number of anything than of cameras, or none.
    """

    cameras: Sequence[Camera]
    pictures: Float[np.ndarray, "views 4 height width"] | LazyViews
    depth: Float[np.ndarray, "views depth_height depth_width"] | LazyViews | None = None
    normals: Float[np.ndarray, "views 3 normals_height normals_width"] | LazyViews | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    names: Sequence[str] = ()
    albedo: Float[np.ndarray, "views 4 height width"] | LazyViews | None = None
    object_indices: UInt16[np.ndarray, "views height width"] | LazyViews | None = None
    times: Sequence[float] = ()

    def __post_init__(self) -> None:
        optional = (self.depth, self.normals, self.albedo, self.object_indices, self.names or None, self.times or None)
        for what in (self.pictures, *optional):
            if what is not None and len(what) != len(self.cameras):
                raise ValueError(f"expected {len(self.cameras)} views, one a camera, got {len(what)}")
        if not self.cameras:
            raise ValueError("a record holds at least one view")

    def __len__(self) -> int:
        return len(self.cameras)

    def read_view(self, index: int) -> RecordView:
        """Read all that is known of one view.

        Raises:
            UserError: a damaged file.
        """
        return RecordView(
            camera=self.cameras[index],
            rgba=self.pictures[index],
            depth=None if self.depth is None else self.depth[index],
            normals=None if self.normals is None else self.normals[index],
            name=self.names[index] if self.names else f"{index:03d}",
            albedo=None if self.albedo is None else self.albedo[index],
            object_indices=None if self.object_indices is None else self.object_indices[index],
            time=self.times[index] if self.times else None,
        )

    def moments(self) -> list[list[int]]:
        """The places of the views that show one moment, in the order of time: all of them in a still record."""
        if not self.times:
            return [list(range(len(self)))]
        places: dict[float, list[int]] = {}
        for place, time in enumerate(self.times):
            places.setdefault(time, []).append(place)
        return [places[time] for time in sorted(places)]

    def subset(self, indices: Sequence[int]) -> "MultiViewRecord":
        """The same record with other views or another order; nothing is read."""
        indices = [int(index) for index in indices]

        def chosen(views: np.ndarray | LazyViews | None) -> np.ndarray | LazyViews | None:
            return views.subset(indices) if isinstance(views, LazyViews) else None if views is None else views[indices]

        pictures = chosen(self.pictures)
        assert pictures is not None
        return MultiViewRecord(
            cameras=[self.cameras[index] for index in indices],
            pictures=pictures,
            depth=chosen(self.depth),
            normals=chosen(self.normals),
            metadata=self.metadata,
            names=[self.names[index] for index in indices] if self.names else (),
            albedo=chosen(self.albedo),
            object_indices=chosen(self.object_indices),
            times=[self.times[index] for index in indices] if self.times else (),
        )


def holdout_split(num_views: int, every: int) -> tuple[list[int], list[int]]:
    """Split views into those to learn from and those held out: every n-th, beginning with the first; 0 holds out none.

    Raises:
        UserError: nothing would be left to learn from, or nothing held out.
    """
    if every < 0 or every == 1 or (every and num_views < 2):
        raise UserError(f"Expected to hold out every 2nd view or fewer (0 for none), got {every} of {num_views} views.")
    held_out = list(range(0, num_views, every)) if every else []
    return sorted(set(range(num_views)) - set(held_out)), held_out


# --- reading ------------------------------------------------------------------------------------------------


def record_splits(path: str | Path) -> list[str]:
    """The splits that a capture comes in (transforms_train.json and so on, or nerfstudio's lists of names)."""
    path = Path(path)
    if (path / "transforms.json").is_file():
        return transforms_files.splits_in(transforms_files.load_json_object(path / "transforms.json"))
    return [split for split in ("train", "val", "test") if (path / f"transforms_{split}.json").is_file()]


def read_record(path: str | Path, split: str | None = None) -> MultiViewRecord:
    """Open a record or a capture by others; its pictures are read later.

    Args:
        path: a folder with `transforms.json`, `transforms_SPLIT.json`, a COLMAP model or CO3D annotations; or a
            `transforms*.json` itself.
        split: train, val or test, of a capture that comes in splits.

    Raises:
        UserError: whatever a person can mend in the capture.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix != ".json":
            raise UserError(f"{path}: expected a folder or a transforms.json, got another file; give the folder.")
        return _read_transforms(path, split)
    if not path.is_dir():
        raise UserError(f"{path}: expected a folder with transforms.json or a COLMAP model, but it does not exist.")
    if split is not None and (path / f"transforms_{split}.json").is_file():
        return _read_transforms(path / f"transforms_{split}.json", None)
    if (path / "transforms.json").is_file():
        return _read_transforms(path / "transforms.json", split)
    if split is not None or record_splits(path):
        there = ", ".join(record_splits(path)) or "no splits"
        raise UserError(f"{path}: expected one of its splits ({there}), got {split or 'none'}; name one of them.")
    if colmap.find_colmap_model(path) is not None:
        return read_colmap(path)
    if co3d.find_annotations(path) is not None:
        return read_co3d(path)
    raise UserError(
        f"{path}: expected transforms.json, transforms_train.json, a COLMAP model (images.bin, sparse/0/images.bin) or "
        "CO3D's frame_annotations.jgz in it, got none of them; give the folder of the capture."
    )


def read_colmap(
    folder: str | Path, images: str | Path | None = None, masks: str | Path | None = None
) -> MultiViewRecord:
    """Open a capture by its COLMAP model, binary or text, in the order of the pictures' names.

    Args:
        folder: the capture's folder (with sparse/0 or sparse) or the model's own.
        images: the folder of the pictures; None looks for `images` beside or above the model.
        masks: the folder of grey pictures that become alpha, PICTURE.png or NAME.png for each; they must cut the object
            out, which COLMAP's own masks need not.

    Raises:
        UserError: whatever a person can mend in the capture.
    """
    model = colmap.find_colmap_model(Path(folder))
    if model is None:
        raise UserError(f"{folder}: expected a COLMAP model (images.bin or images.txt), got none; name its folder.")
    source, stated = colmap.stated_views(model)
    pictures = colmap.images_folder(model) if images is None else Path(images)
    views, missing = locate_views(source, pictures, stated)
    if masks is not None:
        views = [replace(view, mask=colmap.mask_of(Path(masks), view.name)) for view in views]
    return _record(views, {"format": "colmap"}, missing)


def read_co3d(folder: str | Path, sequence: str | None = None) -> MultiViewRecord:
    """Open a sequence of CO3D.

    Args:
        folder: the dataset's folder, or a category's.
        sequence: its name; None if there is only one.

    Raises:
        UserError: whatever a person can mend in the capture.
    """
    annotations = co3d.find_annotations(Path(folder))
    if annotations is None:
        raise UserError(f"{folder}: expected frame_annotations.jgz of one category, got none; name its folder.")
    return _co3d_record(annotations, co3d.stated_views(annotations, sequence))


def read_co3d_sequence(sequence: co3d.Sequence) -> MultiViewRecord:
    """Open a sequence of CO3D whose annotations were read, without the frames that they leave out.

    Raises:
        UserError: no usable frame, or files that are missing.
    """
    if not sequence.views:
        raise UserError(f"{sequence.annotations}: expected usable frames of {sequence.name}, got none; leave it out.")
    return _co3d_record(sequence.annotations, sequence.views)


def _co3d_record(annotations: Path, stated: list[StatedView]) -> MultiViewRecord:
    views, missing = locate_views(annotations, annotations.parent.parent, stated)
    return _record(views, {"format": "co3d"}, missing)


def _read_transforms(path: Path, split: str | None) -> MultiViewRecord:
    stated, metadata = transforms_files.stated_views(path, split)
    views, missing = locate_views(path, path.parent, stated)
    return _record(views, metadata, missing)


def _record(views: list[ViewFiles], metadata: dict[str, Any], missing: list[str]) -> MultiViewRecord:
    def lazy(of_one: Path | None, reader: Callable[[ViewFiles], np.ndarray]) -> LazyViews | None:
        return None if of_one is None else LazyViews([partial(reader, view) for view in views])

    return MultiViewRecord(
        cameras=[view.pinhole_camera() for view in views],
        pictures=LazyViews([partial(read_colours, view) for view in views]),
        depth=lazy(views[0].depth, read_depth),
        normals=lazy(views[0].normals, read_normals),
        metadata=metadata | ({"missing_pictures": missing} if missing else {}),
        names=[view.name for view in views],
        albedo=lazy(views[0].albedo, read_albedo),
        object_indices=lazy(views[0].object_indices, read_object_indices),
        times=[view.time for view in views if view.time is not None],
    )


# --- writing ------------------------------------------------------------------------------------------------


def write_record(record: MultiViewRecord, folder: str | Path) -> None:
    """Write a record as a nerfstudio folder, which appears when it is complete; an older record there is replaced.

    Args:
        record: pictures of any sizes; depth up to 65.535 world units.
        folder: a folder that does not exist, is empty, or holds a record and nothing else.

    Raises:
        UserError: the folder holds other files or cannot be written, or depth does not fit into 16 bits.
    """
    folder = Path(folder).resolve()
    _check_replaceable(folder)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    replaced = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    try:
        temporary.mkdir(parents=True)
        _write_views(record, temporary)
        if folder.exists():
            folder.rename(replaced)
        temporary.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: the record cannot be written: {error.strerror}; choose another folder.") from error
    except UserError as error:  # from a file in the temporary folder, which the person never named
        raise UserError(str(error).replace(str(temporary), str(folder))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.exists() and replaced.exists():
            replaced.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    try:
        entries = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise UserError(f"{folder}: expected a folder to write to, got: {error.strerror}; choose another.") from error
    if entries and not ("transforms.json" in entries and entries <= _OWN_ENTRIES):
        others = ", ".join(sorted(entries - _OWN_ENTRIES)[:3]) or "no transforms.json"
        raise UserError(f"{folder}: expected an empty folder or an older record, got other files ({others}).")


def _write_views(record: MultiViewRecord, folder: Path) -> None:
    stems = [f"{index:03d}.png" for index in range(len(record))]
    kinds = {
        "depth": ("depth_file_path", record.depth),
        "normals": ("normal_file_path", record.normals),
        "albedo": ("albedo_file_path", record.albedo),
        "object_indices": ("object_index_file_path", record.object_indices),
    }
    known = {kind: key for kind, (key, views) in kinds.items() if views is not None}
    for kind in ["images", *known]:
        (folder / kind).mkdir()
    for index, stem in enumerate(stems):
        view = record.read_view(index)
        if view.rgba.shape[1:] != (view.camera.height, view.camera.width):
            raise ValueError(f"view {index}: camera and picture differ in size")
        write_png(folder / "images" / stem, view.rgba)
        if view.depth is not None:
            (folder / "depth" / stem).write_bytes(encode_grey16(depth_steps(view.depth)))
        if view.normals is not None:
            write_png(folder / "normals" / stem, view.normals * 0.5 + 0.5)
        if view.albedo is not None:
            write_png(folder / "albedo" / stem, view.albedo)
        if view.object_indices is not None:
            (folder / "object_indices" / stem).write_bytes(encode_grey16(view.object_indices))
    text = transforms_files.transforms_text(
        record.cameras,
        [f"images/{stem}" for stem in stems],
        view_paths={key: [f"{kind}/{stem}" for stem in stems] for kind, key in known.items()},
        times=record.times,
        metadata=record.metadata,
    )
    with (folder / "transforms.json").open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
