"""Ways to make the views of a mesh agree, measured on models whose true texture is known.

Each model loses its texture and gets a new one from one picture of it, by every strategy of diffusion synchronization,
by its relatives, and with views that go their own ways. Compared with the truth from cameras that none of the views
has. A stopped measurement goes on where it was.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.texturing_models import PICTURE_ELEVATION_DEGREES, front_picture, validation_mesh, validation_names
from distill_core.camera_rigs import fibonacci_rig
from distill_core.errors import UserError
from distill_core.synchronization.strategies import STRATEGY_NAMES
from gs_integration.pipelines.settings import GeneratorSettings, PictureSettings
from gs_integration.pipelines.texture_settings import RelativeMethod, TextureSettings

if TYPE_CHECKING:
    import numpy as np

    from distill_core.models.view_generator import ViewGenerator
    from gs_integration.pipelines.texture_results import TexturedResult
    from renderers.meshes import TexturedMesh

_NUM_OTHER_VIEWS = 8
_OTHER_VIEWS_PX = 256
_SHOWN_VIEWS = (2, 3, 4, 5)  # of the other cameras: around the middle, from above and from below
_SHOWN_PX = 160
_MEANS = ("psnr", "psnr_inside", "ssim", "consistency_psnr", "seam_ratio", "seconds")


METHODS = (*STRATEGY_NAMES, *get_args(RelativeMethod))
"""What is compared: strategies, no synchronization ("none"), and relatives, each as the pipeline calls it."""


class Settings(BaseModel):
    """Which models, methods and steps, and where finished rows are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Path = Field(default=Path("../shared/assets/models"), description="folder of the packed models")
    folder: Path = Field(
        default=Path("out/texture_methods"),
        description="folder of rows.jsonl, from which a stopped measurement goes on, and comparison.png",
    )
    limit: int = Field(default=12, ge=1, description="measure the first so many models, by SHA-256 of the name")
    shown: int = Field(default=2, ge=1, description="models in the picture")
    methods: tuple[str, ...] = Field(default=METHODS, description=f"among {', '.join(METHODS)}")
    checkpoint: str = Field(default="small", description="name of a checkpoint that ships with the project, or a path")
    steps: tuple[int, ...] = Field(default=(1, 8), description="numbers of sampling steps, each measured on its own")
    sampler: Literal["consistency", "ddim"] = Field(default="ddim", description="of more than one step")
    feed_back: bool = Field(
        default=TextureSettings.model_fields["feed_back"].default, description="as texture_mesh.py has it"
    )
    num_views: int = Field(default=10, ge=3, le=64, description="views that the texture is made from")
    texture_size: int = Field(default=1024, ge=16, le=4096, description="texels along a side of the texture")
    device: Literal["auto", "cpu", "cuda"] = Field(default="cpu", description="where the generator runs")


def run(settings: Settings) -> dict[str, Any]:
    """Texture every model with every method and compare.

    Args:
        settings: which models and methods.

    Raises:
        UserError: a method that does not exist, no such folder or checkpoint.
    """
    from distill_core.models.checkpoint_loading import find_checkpoint, load_generator
    from gs_integration.pipelines.devices import torch_device
    from gs_integration.pipelines.report import file_sha256
    from gs_integration.row_log import RowLog
    from renderers.texture_space.unwrapping import ready_for_texturing

    if unknown := [method for method in settings.methods if method not in METHODS]:
        raise UserError(f"Expected methods among {', '.join(METHODS)}, got {unknown[0]}.")
    file = find_checkpoint(settings.checkpoint)
    identity: dict[str, object] = {
        "checkpoint": file_sha256(file),
        **settings.model_dump(mode="json", exclude={"models", "folder", "limit", "shown", "methods", "steps"}),
    }
    log = RowLog(settings.folder / "rows.jsonl", identity, ("model", "method", "steps"))
    generator = load_generator(file, torch_device(settings.device))
    wanted = [(method, steps) for method in settings.methods for steps in _numbers_of_steps(method, settings.steps)]
    names = validation_names(settings.models, settings.limit)
    for number, name in enumerate(names):
        missing = [each for each in wanted if (name, each[0], str(each[1])) not in log.rows]
        if not missing:
            continue
        mesh = validation_mesh(settings.models, name)
        truth = _Truth(name, mesh)
        # Once for all methods: what they share is not what is compared.
        unwrapped = ready_for_texturing(mesh, texture_size=settings.texture_size)
        for method, steps in missing:
            row, rendered = truth.measured(
                unwrapped.mesh, method_settings(settings, method, steps), generator, method=method, steps=steps
            )
            if number < settings.shown:
                truth.keep(settings.folder / "pictures", f"{method}_{steps}", rendered)
            log.add(row)
    rows = [log.rows[name, method, str(steps)] for name in names for method, steps in wanted]
    _draw(settings, names[: settings.shown], wanted)
    return {"models": rows, "methods": [_mean(rows, method, steps) for method, steps in wanted]}


def _numbers_of_steps(method: str, sampling_steps: tuple[int, ...]) -> tuple[int, ...]:
    """How many steps a method is measured with; score distillation has steps of its own kind."""
    if method == "score-distillation":
        return (TextureSettings.model_fields["distillation_steps"].default,)
    return sampling_steps


def method_settings(settings: Settings, method: str, steps: int) -> TextureSettings:
    """What the pipeline is told for one row of the table.

    Args:
        settings: of the measurement.
        method: one of `METHODS`.
        steps: of the sampler, or of score distillation.
    """
    way: dict[str, Any] = {"strategy": method} if method in STRATEGY_NAMES else {"method": method}
    if method == "score-distillation":
        way["distillation_steps"], steps = steps, 1
    sampler = "consistency" if steps == 1 else settings.sampler
    return TextureSettings.model_validate(
        {
            "picture": PictureSettings(elevation_degrees=PICTURE_ELEVATION_DEGREES, matting="alpha"),
            "generator": GeneratorSettings(
                checkpoint=settings.checkpoint, steps=steps, sampler=sampler, device=settings.device
            ),
            "num_views": settings.num_views,
            "texture_size": settings.texture_size,
            "feed_back": settings.feed_back,
            **way,
        }
    )


class _Truth:
    """A model with its own texture, seen from the other cameras."""

    def __init__(self, name: str, mesh: "TexturedMesh") -> None:
        from benchmarks.evaluation_models import render_pictures
        from renderers.mesh_rendering import prepare

        self.name = name
        self.cameras = fibonacci_rig(
            _NUM_OTHER_VIEWS, start_azimuth_degrees=40, width=_OTHER_VIEWS_PX, height=_OTHER_VIEWS_PX
        )
        self.picture = front_picture(mesh)
        self.views = render_pictures(prepare(mesh), self.cameras)

    def measured(
        self,
        mesh: "TexturedMesh",
        settings: TextureSettings,
        generator: "ViewGenerator",
        *,
        method: str,
        steps: int,
    ) -> tuple[dict[str, Any], "np.ndarray"]:
        """Texture the mesh anew and compare; return the row and the renders."""
        import time

        import numpy as np
        import torch

        from distill_core.progress import SilentProgress
        from gs_integration.evaluation import compare_views
        from gs_integration.pipelines.texture_mesh import texture_mesh
        from gs_integration.texturing.texture_scores import render_texture

        began = time.perf_counter()
        result: TexturedResult = texture_mesh(mesh, self.picture, settings, generator, SilentProgress())
        seconds = time.perf_counter() - began
        rendered = render_texture(result.unwrapped.mesh, torch.from_numpy(result.texture), self.cameras).numpy()
        scores = compare_views(rendered, self.views)
        row = {
            "model": self.name,
            "method": method,
            "steps": steps,
            **{measure: float(np.mean(scores[measure])) for measure in ("psnr", "psnr_inside", "ssim")},
            **{measure: float(np.sum(scores[measure])) for measure in ("gradient_energy", "true_gradient_energy")},
            "consistency_psnr": float(result.consistency_psnr.mean()),
            "seam_ratio": result.seams.ratio,
            "seconds": seconds,
        }
        return row, rendered

    def keep(self, folder: Path, name: str, rendered: "np.ndarray") -> None:
        """Write the shown views of a method side by side, and the picture with the true ones."""
        import numpy as np

        from distill_core.pictures.images import composite, resize_premultiplied, write_png

        def strip(pictures: list["np.ndarray"]) -> "np.ndarray":
            small = [composite(resize_premultiplied(one, _SHOWN_PX, _SHOWN_PX), 1.0) for one in pictures]
            return np.concatenate(small, axis=2).clip(0, 1)

        (folder / self.name).mkdir(parents=True, exist_ok=True)
        write_png(folder / self.name / f"{name}.png", strip([rendered[view] for view in _SHOWN_VIEWS]))
        write_png(
            folder / self.name / "truth.png", strip([self.picture.rgba, *(self.views[view] for view in _SHOWN_VIEWS)])
        )


def _mean(rows: list[dict[str, Any]], method: str, steps: int) -> dict[str, Any]:
    """A method's mean over the models; sharpness is a ratio of sums, which flat models do not rule."""
    own = [row for row in rows if (row["method"], row["steps"]) == (method, steps)]
    true_energy = sum(row["true_gradient_energy"] for row in own)
    return {
        "method": method,
        "steps": steps,
        "models": len(own),
        **{measure: sum(row[measure] for row in own) / len(own) for measure in _MEANS},
        "sharpness": sum(row["gradient_energy"] for row in own) / true_energy if true_energy > 0 else None,
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a Markdown table.

    Args:
        result: what `run` returned.
    """
    lines = [
        "| method | steps | PSNR (dB) | inside (dB) | SSIM | consistency (dB) | seams | sharpness | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["methods"]:
        sharpness = "" if row["sharpness"] is None else f"{row['sharpness']:.2f}"
        lines.append(
            f"| {row['method']} | {row['steps']} | {row['psnr']:.2f} | {row['psnr_inside']:.2f} | {row['ssim']:.3f} | "
            f"{row['consistency_psnr']:.1f} | {row['seam_ratio']:.2f} | {sharpness} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines)


def _draw(settings: Settings, names: list[str], wanted: list[tuple[str, int]]) -> None:
    """Lay the strips of the shown models out, those of one model after one another, two in a row."""
    from distill_core.pictures.contact_sheet import contact_sheet
    from distill_core.pictures.images import read_picture, write_png

    strips, labels = [], []
    for name in names:
        files = [("truth", "picture, truth"), *((f"{way}_{steps}", f"{way}, {_steps(steps)}") for way, steps in wanted)]
        for file, label in files:
            path = settings.folder / "pictures" / name / f"{file}.png"
            if path.exists():
                strips.append(read_picture(path).rgba)
                labels.append(f"{name}: {label}")
    if strips:
        write_png(settings.folder / "comparison.png", contact_sheet(strips, 2, labels))


def _steps(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"
