"""What the worker can do: each task takes files and settings, and leaves the files of its result in a folder.

Modules that are slow to import are imported by the task that needs them, so that the worker says hello at once.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic

from distill_core.errors import UserError
from distill_core.validation import user_error
from gs_integration.memory import give_back_memory
from gs_integration.protocol import MOST_ATTACHMENTS
from gs_integration.worker_progress import JobProgress

if TYPE_CHECKING:
    from distill_core.models.text_to_image import TextToImage
    from distill_core.models.view_generator import ViewGenerator
    from distill_core.pictures.images import Picture
    from gs_integration.pipelines.report import RunRecord
    from gs_integration.pipelines.settings import GeneratorSettings
    from gs_integration.pipelines.texture_settings import TextureSettings

logger = logging.getLogger(__name__)

Settings = TypeVar("Settings", bound=pydantic.BaseModel)
Findings = Mapping[str, object]


class LoadedGenerators:
    """The model that was used last, kept in memory for the next job."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._generator: ViewGenerator | None = None
        self._prompted: TextToImage | None = None
        self._sha256 = ""

    def __bool__(self) -> bool:
        return self._key is not None

    def load(self, settings: "GeneratorSettings", run: "RunRecord") -> "ViewGenerator":
        """Return the generator of the settings, from memory if it is the one of the last job.

        Args:
            settings: which checkpoint, on which device.
            run: told of the checkpoint.

        Raises:
            UserError: there is no such checkpoint or device.
        """
        from distill_core.models.checkpoint_loading import find_checkpoint, load_generator
        from gs_integration.pipelines.devices import torch_device
        from gs_integration.pipelines.report import file_sha256

        file, device = find_checkpoint(settings.checkpoint), torch_device(settings.device)
        key = (file.resolve(), file.stat().st_mtime_ns, str(device))
        if self._generator is None or key != self._key:
            run.progress.stage("checkpoint", None)
            self.free()
            self._generator, self._sha256, self._key = load_generator(file, device), file_sha256(file), key
        run.checkpoint = {"name": settings.checkpoint, "sha256": self._sha256}
        return self._generator

    def load_prompted(self, settings: "TextureSettings", run: "RunRecord") -> "TextToImage":
        """Return the text-to-image model of the settings, from memory if it is the one of the last job.

        Args:
            settings: of a texture after a prompt.
            run: told of the checkpoint.

        Raises:
            UserError: there is no such checkpoint or device.
        """
        from gs_integration.pipelines.devices import torch_device
        from gs_integration.pipelines.texture_models import model_names, prompted_model

        device = torch_device(settings.generator.device)
        key = (*model_names(settings), str(device))
        if self._prompted is None or key != self._key:
            run.progress.stage("checkpoint", None)
            self.free()
            self._prompted, self._key = prompted_model(settings, device), key
        run.checkpoint = {"name": settings.generator.checkpoint}
        return self._prompted

    def free(self) -> None:
        """Give the memory back."""
        self._generator = self._prompted = self._key = None
        give_back_memory()


@dataclass(frozen=True)
class Job:
    """What a task works on.

    Attributes:
        settings: as the message brought them.
        inputs: folder of the files that the message brought.
        results: where the folder of the result goes; is not there yet.
        progress: of this job.
        generators: kept between jobs.
        blender: the executable for what Blender renders; None takes Blender's Python module.
    """

    settings: Mapping[str, Any]
    inputs: Path
    results: Path
    progress: JobProgress
    generators: LoadedGenerators
    blender: Path | None = None

    def checked(self, model: type[Settings], **changes: object) -> Settings:
        """Return the settings as a model.

        Args:
            model: a frozen pydantic model.
            changes: values that take the place of those that the message brought.

        Raises:
            UserError: a value that the model does not admit.
        """
        try:
            return model(**{**self.settings, **changes})
        except pydantic.ValidationError as error:
            raise user_error(error) from None
        except TypeError:
            raise UserError("Expected settings by name, got something else; update the program that asked.") from None

    def file(self, stem: str) -> Path:
        """Return the input of a name, whatever its ending.

        Args:
            stem: such as "picture" for picture.png.

        Raises:
            UserError: it is not there, or more than once.
        """
        found = sorted(file for file in self.inputs.iterdir() if file.is_file() and file.stem == stem)
        if len(found) != 1:
            raise UserError(f"Expected one file {stem}.*, got {len(found)}; send it with the job.")
        return found[0]

    def picture(self) -> "Picture":
        """Return the picture that the message brought.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        from distill_core.pictures.images import read_picture

        return read_picture(self.file("picture"))


Task = Callable[[Job], Findings]


def image_to_views(job: Job) -> Findings:
    """Views around a picture's object; needs picture.*."""
    from gs_integration.pipelines.image_to_views import image_to_views
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.settings import ImageToViewsSettings

    settings = job.checked(ImageToViewsSettings)
    with recorded_run(job.progress) as run:
        picture = job.picture()
        result = image_to_views(picture, settings, job.generators.load(settings.generator, run), run.progress)
        result.save(job.results, run)
    return {"elevation": result.source.elevation_sentence(), "views": len(result.cameras), "warnings": run.warnings}


def image_to_angles(job: Job) -> Findings:
    """Views at chosen angles; needs picture.*."""
    from gs_integration.pipelines.image_to_views import image_to_angles
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.settings import AngleSettings

    settings = job.checked(AngleSettings)
    with recorded_run(job.progress) as run:
        picture = job.picture()
        result = image_to_angles(picture, settings, job.generators.load(settings.generator, run), run.progress)
        result.save(job.results, run)
    return {"elevation": result.source.elevation_sentence(), "views": len(result.cameras), "warnings": run.warnings}


def image_to_cameras(job: Job) -> Findings:
    """Views at given cameras; needs picture.* and transforms.json, whose cameras stand around the unit ball."""
    from gs_integration.pipelines.image_to_views import image_to_cameras
    from gs_integration.pipelines.render_splats import sized_cameras
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.settings import GivenCameraSettings

    settings = job.checked(GivenCameraSettings)
    with recorded_run(job.progress) as run:
        picture, cameras = job.picture(), sized_cameras(job.file("transforms"))
        generator = job.generators.load(settings.generator, run)
        result = image_to_cameras(picture, cameras, settings, generator, run.progress)
        result.save(job.results, run)
    return {"elevation": result.source.elevation_sentence(), "views": len(result.cameras), "warnings": run.warnings}


def image_to_splats(job: Job) -> Findings:
    """Splats of a picture's object; needs picture.*."""
    from gs_integration.pipelines.image_to_splats import image_to_splats
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.settings import ImageToSplatsSettings

    settings = job.checked(ImageToSplatsSettings)
    with recorded_run(job.progress) as run:
        picture = job.picture()
        result = image_to_splats(picture, settings, job.generators.load(settings.views.generator, run), run.progress)
        result.save(job.results, run)
    return {
        "elevation": result.views.source.elevation_sentence(),
        "splats": len(result.splats),
        "source_psnr": round(result.source_psnr, 2),
        "warnings": run.warnings,
    }


def fit_splats(job: Job) -> Findings:
    """Splats of posed pictures, such as views that were kept; needs transforms.json and its pictures."""
    from gs_integration.fitting.settings import FitRecordSettings
    from gs_integration.pipelines.fit_record import fit_record
    from gs_integration.pipelines.fit_record_files import save_fit
    from gs_integration.pipelines.report import recorded_run

    settings = job.checked(FitRecordSettings)
    job.file("transforms")
    with recorded_run(job.progress) as run:
        result = fit_record(job.inputs, settings, run.progress)
        save_fit(result, job.results, run)
    return {"splats": len(result.splats), "begun_from": result.begun_from, "warnings": run.warnings}


def texture_mesh(job: Job) -> Findings:
    """A mesh textured; needs mesh.*, picture.* unless a prompt is enough, cameras.json where cameras are given."""
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.texture_settings import CAMERA_SETS, TextureSettings
    from renderers.meshes import load_mesh

    cameras = job.inputs / "cameras.json"
    if cameras.is_file():
        settings = job.checked(TextureSettings, cameras=str(cameras))
    elif job.settings.get("cameras", CAMERA_SETS[0]) in CAMERA_SETS:
        settings = job.checked(TextureSettings)
    else:
        raise UserError(f"Expected cameras {', '.join(CAMERA_SETS)}, or a file cameras.json sent with the job.")
    with recorded_run(job.progress) as run:
        prompted = settings.prompted
        heard = not prompted.text.prompt or prompted.ip_adapter is not None
        picture = job.picture() if heard else None
        mesh = load_mesh(job.file("mesh"), up_axis=None if settings.up_axis == "auto" else settings.up_axis)
        from gs_integration.pipelines.texture_mesh import texture_mesh

        if prompted.text.prompt:
            model = job.generators.load_prompted(settings, run)
        else:
            model = job.generators.load(settings.generator, run)
        result = texture_mesh(mesh, picture, settings, model, run.progress)
        result.save(job.results, run)
    return {
        **({} if result.source is None else {"elevation": result.source.elevation_sentence()}),
        "picture_lifted": result.picture_lifted,
        "coordinates": result.unwrapped.method,
        "surface_share": round(result.coverage.surface_share, 4),
        "warnings": run.warnings,
    }


def render_splats(job: Job) -> Findings:
    """Pictures of splats; needs splats.* and transforms.json, whose cameras stand in the z-up world."""
    from gs_integration.pipelines.render_splats import render_splats, sized_cameras
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.settings import RenderSplatsSettings
    from gs_integration.splat_files import read_splats

    settings = job.checked(RenderSplatsSettings)
    with recorded_run(job.progress) as run:
        cameras = sized_cameras(job.file("transforms"))
        axes = None if settings.axes == "auto" else settings.axes
        splats, antialiased = read_splats(job.file("splats"), axes_if_unsaid=axes)
        result = render_splats(splats, cameras, settings, run.progress, antialiased=antialiased)
        result.save(job.results, run)
    return {"splats": len(splats), "views": len(cameras), "warnings": run.warnings}


def convert_splats(job: Job) -> Findings:
    """Splats in another format; needs splats.*, and the setting `format` beside those of a conversion."""
    from gs_integration.formats.by_ending import FORMATS
    from gs_integration.pipelines.convert_splats import convert_splats
    from gs_integration.pipelines.report import recorded_run
    from gs_integration.pipelines.settings import ConvertSettings

    settings = dict(job.settings)
    ending = settings.pop("format", "ply")
    if ending not in FORMATS:
        raise UserError(f"Expected a format of {', '.join(FORMATS)}, got {str(ending)[:40]!r}; choose one of them.")
    converting = Job(settings, job.inputs, job.results, job.progress, job.generators).checked(ConvertSettings)
    with recorded_run(job.progress) as run:
        run.progress.stage("conversion", None)
        job.results.mkdir()
        splats = convert_splats(job.file("splats"), job.results / f"splats.{ending}", converting)
    return {
        "splats": len(splats),
        "sh_degree": splats.sh_degree,
        "axes_as_read": splats.axes,
        "warnings": run.warnings,
    }


def render_dataset(job: Job) -> Findings:
    """Models as records; needs models/*, and cameras.json where the rig is a person's own."""
    from gs_integration.pipelines.render_models import render_models
    from gs_integration.pipelines.render_models_settings import RenderModelsSettings
    from gs_integration.pipelines.report import recorded_run
    from renderers.blender.rigs import make_rig
    from renderers.sources.local_folder import local_objects

    settings = job.checked(RenderModelsSettings)
    cameras = job.inputs / "cameras.json"
    if cameras.is_file():
        settings = settings.model_copy(update={"views": settings.views.model_copy(update={"rig": cameras})})
    elif isinstance(settings.views.rig, Path):
        raise UserError(f"Expected a rig by its name, got {settings.views.rig}; send your cameras as cameras.json.")
    if isinstance(settings.render.lighting, Path):
        raise UserError(f"Expected area-lights or uniform, got {settings.render.lighting}; choose one of them.")
    models, views = job.inputs / "models", len(make_rig(settings.views, 0).cameras)
    # A record has a file a view and kind, and one for its cameras; beside them the report and the sheet.
    most = (MOST_ATTACHMENTS - 2) // (3 * views + 1)
    if (got := len(local_objects(models))) > most:
        raise UserError(f"Expected at most {most} models of {views} views at a time, got {got}; select fewer.")
    with recorded_run(job.progress) as run:
        result = render_models(models, job.results, settings, run, blender=job.blender)
    return {"records": result.records, "left_out": result.left_out, "views": views, "warnings": run.warnings}


def status(job: Job) -> Findings:
    """Where jobs compute, what memory there is, and whether the shipped model is there."""
    import torch

    from distill_core.models.checkpoint_loading import find_checkpoint

    job.checked(_NoSettings)
    on_cuda, threads = torch.cuda.is_available(), torch.get_num_threads()
    try:
        checkpoint: str | None = find_checkpoint("small").parent.name
    except UserError:
        checkpoint = None
    return {
        "device": "cuda" if on_cuda else "cpu",
        "device_name": torch.cuda.get_device_name() if on_cuda else f"CPU, {threads} thread{'s' * (threads > 1)}",
        "free_memory_bytes": torch.cuda.mem_get_info()[0] if on_cuda else _free_memory_bytes(),
        "checkpoint": checkpoint,
        "model_loaded": bool(job.generators),
    }


TASKS: dict[str, Task] = {
    task.__name__: task
    for task in (
        image_to_views,
        image_to_angles,
        image_to_cameras,
        image_to_splats,
        fit_splats,
        texture_mesh,
        render_splats,
        convert_splats,
        render_dataset,
        status,
    )
}


class _NoSettings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


def _free_memory_bytes() -> int | None:
    """Memory that the system says is free; None where it does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
