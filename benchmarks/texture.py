"""What the texture between the views costs: time beside the denoiser's, memory, and a mesh of a million triangles.

Time: the products that take views to the texture and back, over whole steps of the joint process and the mean at the
end, beside the network's own time; the back-projection that follows has a line of its own. Memory: of the matrices,
over a grid of texture and view sizes; entries number a few a pixel and a few a texel, so they should grow with the sum
of both and not with the product. A million triangles: the whole program, on a mesh without texture coordinates. The
shape of all is a bumpy ring, which is made here.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.texturing_models import PICTURE_ELEVATION_DEGREES, front_picture
from distill_core.camera_rigs import fibonacci_rig

if TYPE_CHECKING:
    import torch

    from distill_core.diffusion.denoiser import Denoiser
    from distill_core.synchronization.projections import Projection, Votes
    from renderers.meshes import TexturedMesh

_PROGRAM = Path(__file__).resolve().parents[1] / "scripts" / "texture_mesh.py"
_SECTIONS = (128, 64)
"""Around the ring and around its tube, of the mesh that time and memory are measured on."""
_TUBE, _BUMP = 0.28, 0.06
_PICTURE_TEXELS = 256


class Settings(BaseModel):
    """Sizes of what is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(default="small", description="name of a checkpoint that ships with the project, or a path")
    num_views: int = Field(default=10, ge=1, le=64, description="views that are joined")
    steps: int = Field(default=4, ge=2, description="steps of the joint process that are timed")
    texture_size: int = Field(default=1024, ge=16, le=4096, description="texels along a side of the texture")
    texture_sizes: tuple[int, ...] = Field(default=(256, 512, 1024), description="the same, of the memory's grid")
    view_sizes: tuple[int, ...] = Field(default=(64, 128, 256), description="sides of its views in pixels")
    triangles: int = Field(default=1_000_000, ge=0, description="of the large mesh; 0 leaves the whole program out")
    device: str = Field(default="cpu", description="cpu or cuda")


def run(settings: Settings) -> dict[str, Any]:
    """Measure time, memory and the large mesh.

    Args:
        settings: sizes.
    """
    return {
        "time": _time_of_steps(settings),
        "memory": _memory(settings),
        "large": _large_mesh(settings) if settings.triangles else None,
    }


def ring(sections: int, tube_sections: int) -> "TexturedMesh":
    """Make a bumpy ring of 2 x sections x tube_sections triangles in the unit ball, with coordinates and colours.

    Args:
        sections: around the ring.
        tube_sections: around its tube.
    """
    import numpy as np

    from renderers.meshes import TexturedMesh

    around, across = np.meshgrid(np.arange(sections), np.arange(tube_sections), indexing="ij")
    angle, turn = 2 * np.pi * around / sections, 2 * np.pi * across / tube_sections
    tube = _TUBE + _BUMP * np.sin(7 * angle) * np.cos(3 * turn)
    out = 1 - _TUBE - _BUMP + tube * np.cos(turn)
    vertices = np.stack([out * np.cos(angle), out * np.sin(angle), tube * np.sin(turn)], axis=-1).reshape(-1, 3)
    # The four corners of every patch as steps around and across; both wrap in space, and do not in the picture.
    steps = np.array([(0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0, 1)])
    along = around.reshape(-1, 1) + steps[:, 0]
    over = across.reshape(-1, 1) + steps[:, 1]
    faces = (along % sections * tube_sections + over % tube_sections).reshape(-1, 3)
    uvs = np.stack([along / sections, over / tube_sections], axis=-1).reshape(-1, 3, 2)
    rows, columns = np.indices((_PICTURE_TEXELS, _PICTURE_TEXELS)) * (2 * np.pi / _PICTURE_TEXELS)
    colours = np.stack([np.sin(5 * columns), np.cos(4 * rows), np.sin(3 * columns + 2 * rows), np.ones_like(rows)], -1)
    picture = np.where(np.arange(4) < 3, 140 + 80 * colours, 255).astype(np.uint8)
    return TexturedMesh(
        vertices=vertices,
        faces=faces.astype(np.int64),
        corner_uvs=uvs.astype(np.float32),
        base_colours=(picture,),
        face_picture=np.zeros(len(faces), np.int64),
        corner_colours=None,
        corner_normals=None,
        source_to_object=np.eye(4),
        name="ring",
    )


# --- time ------------------------------------------------------------------------------------------------------------


class _ClockedTexture:
    """A projection, and the seconds that both directions of it took."""

    def __init__(self, projection: "Projection") -> None:
        self._projection = projection
        self.seconds = 0.0
        self.canonical_shape, self.instances_shape = projection.canonical_shape, projection.instances_shape
        self.canonical_noise, self.initial_noise = projection.canonical_noise, projection.initial_noise

    def project(self, canonical: "torch.Tensor") -> "torch.Tensor":
        began = _now(canonical)
        views = self._projection.project(canonical)
        self.seconds += _now(views) - began
        return views

    def unproject(self, instances: "torch.Tensor") -> "Votes":
        began = _now(instances)
        votes = self._projection.unproject(instances)
        self.seconds += _now(votes.weighted) - began
        return votes


class _ClockedDenoiser:
    """A denoiser, and the seconds that it took."""

    def __init__(self, denoiser: "Denoiser[Any]") -> None:
        self._denoiser = denoiser
        self.seconds = 0.0
        self.schedule, self.sample_shape = denoiser.schedule, denoiser.sample_shape

    def __call__(self, noisy: "torch.Tensor", time: "torch.Tensor", condition: Any) -> "torch.Tensor":
        began = _now(noisy)
        clean = self._denoiser(noisy, time, condition)
        self.seconds += _now(clean) - began
        return clean


def _now(computed: "torch.Tensor") -> float:
    """Seconds, once the device has done all that was asked of it."""
    if computed.is_cuda:
        import torch

        torch.cuda.synchronize(computed.device)
    return time.perf_counter()


def _time_of_steps(settings: Settings) -> dict[str, Any]:
    """Seconds of a joint process in its network, in the projection and in all."""
    import torch

    from distill_core.cameras import orbit_camera
    from distill_core.diffusion.samplers import ddim_step
    from distill_core.diffusion.time_grids import uniform_times
    from distill_core.models.checkpoint_loading import load_generator
    from distill_core.progress import SilentProgress
    from distill_core.rays import stack_cameras
    from distill_core.synchronization.loop import synchronize
    from distill_core.synchronization.steps import JointProcess
    from distill_core.synchronization.strategies import strategy_named
    from gs_integration.pipelines.image_to_views import network_picture
    from gs_integration.texturing.joined_texture import final_views, joining_projection
    from gs_integration.texturing.texture_denoising import ChanneledTexture, SurfaceColours
    from gs_integration.texturing.texture_feedback import FedBack
    from gs_integration.texturing.texture_gathering import gathered_texture
    from gs_integration.texturing.texture_projection import TextureProjection

    generator = load_generator(settings.checkpoint, settings.device)
    mesh, side = ring(*_SECTIONS), generator.settings.view.resolution_px
    cameras = fibonacci_rig(settings.num_views, width=side, height=side)
    began = time.perf_counter()
    projection = TextureProjection(mesh, cameras, settings.texture_size)
    joining, finer = joining_projection(mesh, projection, SilentProgress()), projection.finer()
    texture, network = _ClockedTexture(ChanneledTexture(joining)), _ClockedDenoiser(generator.view_network)
    random = torch.Generator().manual_seed(0)
    colours = SurfaceColours(network, joining.alpha.to(generator.device), random)
    pixels = network_picture(front_picture(mesh).rgba).to(generator.device)
    source = stack_cameras([orbit_camera(0.0, PICTURE_ELEVATION_DEGREES, width=side, height=side)]).to(generator.device)

    strategy = strategy_named("instance-clean")

    def joined(steps: int) -> tuple[float, float]:
        """Seconds of gathering the texture at the end, as the mean of the views and with back-projection."""
        denoiser = FedBack(colours, texture)
        process = JointProcess(texture, denoiser, condition, strategy)
        joint = synchronize(process, uniform_times(steps), lambda: ddim_step, random, device=generator.device)
        views, ended = final_views(joint, strategy), _now(joint.own_clean)
        middle = _now(gathered_texture(projection, finer, views, rounds=0))
        return middle - ended, _now(gathered_texture(projection, finer, views)) - middle

    with torch.inference_mode():
        targets = stack_cameras(cameras).to(generator.device)
        condition = generator.build_condition(pixels, source, targets, generator.predict_solid(pixels, source))
        joined(2)  # makes the matrices, compiles kernels, touches memory
        prepared = time.perf_counter()
        network.seconds = texture.seconds = 0.0
        gathering, fitting = joined(settings.steps)
        ended = time.perf_counter()
    return {
        "threads": torch.get_num_threads(),
        "views": settings.num_views,
        "steps": settings.steps,
        "network_seconds": network.seconds,
        "projection_seconds": texture.seconds,
        "gathering_seconds": gathering,
        "fitting_seconds": fitting,
        "all_seconds": ended - prepared,
        "share": (texture.seconds + gathering) / network.seconds,
        "joined_texels": joining.texture_size,
        "before_seconds": prepared - began,
    }


# --- memory ----------------------------------------------------------------------------------------------------------


def _memory(settings: Settings) -> list[dict[str, Any]]:
    """Bytes of all matrices of every pair of sizes."""
    import torch

    from gs_integration.texturing.texture_projection import TextureProjection

    mesh, grid = ring(*_SECTIONS), []
    for size in settings.texture_sizes:
        for side in settings.view_sizes:
            cameras = fibonacci_rig(settings.num_views, width=side, height=side)
            projection = TextureProjection(mesh, cameras, size)
            random = torch.Generator().manual_seed(0)
            projection.project(projection.texture(projection.initial_noise(random)))
            texels, pixels = size * size, settings.num_views * side * side
            grid.append({"texels": texels, "pixels": pixels, "bytes": projection.num_bytes})
    return grid


def growth(grid: list[dict[str, Any]]) -> dict[str, float]:
    """How many times memory, the sum of texels and pixels, and their product grow over a grid of sizes.

    Args:
        grid: rows with texels, pixels and bytes.
    """
    rows = sorted(grid, key=lambda row: row["texels"] * row["pixels"])
    first, last = rows[0], rows[-1]
    return {
        "memory": last["bytes"] / first["bytes"],
        "sum": (last["texels"] + last["pixels"]) / (first["texels"] + first["pixels"]),
        "product": last["texels"] * last["pixels"] / (first["texels"] * first["pixels"]),
    }


# --- a million triangles ---------------------------------------------------------------------------------------------


def _large_mesh(settings: Settings) -> dict[str, Any]:
    """Seconds a stage and peak memory of the whole program."""
    import resource  # not on every system, and not needed for the rest

    import trimesh

    from distill_core.pictures.images import write_png

    tube_sections = max(3, round((settings.triangles / 4) ** 0.5))
    mesh = ring(-(-settings.triangles // (2 * tube_sections)), tube_sections)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(folder / "ring.ply")
        write_png(folder / "picture.png", front_picture(mesh).rgba)
        command = [sys.executable, str(_PROGRAM), str(folder / "ring.ply"), "--image", str(folder / "picture.png")]
        command += ["--output-dir", str(folder / "out"), "--checkpoint", settings.checkpoint]
        command += ["--num-views", str(settings.num_views), "--texture-size", str(settings.texture_size)]
        command += ["--device", settings.device]
        subprocess.run(command, check=True, stdout=sys.stderr)
        report = json.loads((folder / "out" / "report.json").read_text())
    # The largest process that has ended: the program itself, or its child that unwraps. Kibibytes on Linux.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "triangles": report["mesh"]["faces"],
        "coordinates": report["mesh"]["coordinates"],
        "seconds": report["seconds"],
        "coverage": report["coverage"],
        "consistency_psnr": report["consistency_psnr"]["mean"],
        "peak_bytes": peak,
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as three Markdown tables.

    Args:
        result: what `run` returned.
    """
    steps, grown = result["time"], growth(result["memory"])
    lines = [
        f"| {steps['views']} views, {steps['steps']} steps, {steps['threads']} threads | seconds |",
        "| --- | ---: |",
        f"| in the network | {steps['network_seconds']:.3f} |",
        f"| projection and unprojection, joined at {steps['joined_texels']} texels a side "
        f"| {steps['projection_seconds']:.3f} |",
        f"| gathering the texture at the end | {steps['gathering_seconds']:.3f} |",
        f"| **their share of the network's** | **{100 * steps['share']:.1f} %** |",
        f"| back-projection, once after them | {steps['fitting_seconds']:.3f} |",
        f"| all | {steps['all_seconds']:.3f} |",
        "",
        "| texels | pixels | MB | bytes a texel or pixel |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for row in result["memory"]:
        each = row["bytes"] / (row["texels"] + row["pixels"])
        lines.append(f"| {row['texels']:,} | {row['pixels']:,} | {row['bytes'] / 1e6:.1f} | {each:.0f} |")
    lines.append(
        f"| **their sum grows {grown['sum']:.0f} times** | **their product {grown['product']:.0f} times** | "
        f"**memory {grown['memory']:.0f} times** | |"
    )
    if (large := result["large"]) is not None:
        lines += ["", f"| {large['triangles']:,} triangles | seconds |", "| --- | ---: |"]
        lines += [f"| {stage} | {seconds:.1f} |" for stage, seconds in large["seconds"].items()]
        lines.append(f"| **peak memory** | **{large['peak_bytes'] / 1e9:.1f} GB** |")
    return "\n".join(lines)
