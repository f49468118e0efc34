"""What README claims beyond the tests, and the command that measures each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One measured statement.

    Attributes:
        name: of its record docs/measurements/NAME.json and of its place in README.
        says: what is measured, in one line.
        command: what to run, after the Python; {assets} and {out} stand for folders.
        figures: the JSON file that the command writes, below {out}.
    """

    name: str
    says: str
    command: tuple[str, ...]
    figures: str


def _benchmark(name: str, says: str, *options: str) -> Claim:
    return Claim(name, says, ("scripts/benchmark.py", name, "--output", "{out}/figures.json", *options), "figures.json")


_MODELS = ("--models", "{assets}/eval")
_EVALUATE = ("scripts/evaluate.py", "--data", "{assets}/val_views/val_views.tar", "--output-dir", "{out}")
_FIT = ("scripts/fit_splats.py", "--output-dir", "{out}")

CLAIMS = (
    _benchmark("rendering", "Textured training views a second on one core"),
    _benchmark(
        "splats",
        "The CPU rasterizer, forward and backward, against a vectorised torch one",
        "--plot",
        "docs/pictures/rasterizer.png",
    ),
    _benchmark("views", "One step against fifty guided ones, and the time of eight views"),
    Claim(
        "fit_chair",
        "Splats of the synthetic chair at its test views",
        (*_FIT, "{assets}/captures/nerf_synthetic_chair", "--resolution", "256"),
        "report.json",
    ),
    Claim(
        "fit_fox",
        "Splats of fifty photographs of a fox",
        (*_FIT, "{assets}/captures/fox"),
        "report.json",
    ),
    Claim(
        "fit_fox_colmap",
        "The same photographs by their COLMAP model",
        (*_FIT, "{assets}/captures/fox/sparse/0"),
        "report.json",
    ),
    _benchmark("fitting", "Splats of well-known models from sixteen views, at eight unseen ones", *_MODELS),
    Claim(
        "val_views",
        "Views of objects that were not trained on",
        (*_EVALUATE, "--checkpoint", "small", "--steps", "1", "2", "4", "--baseline", "copy", "guide"),
        "metrics.json",
    ),
    Claim(
        "val_teacher",
        "The same weights as a teacher, 25 steps, on the first 25 objects",
        (*_EVALUATE, "--checkpoint", "small", "--steps", "1", "25", "--sampler", "ddim", "--limit", "25"),
        "metrics.json",
    ),
    Claim(
        "val_splats",
        "Splats of objects that were not trained on, from one picture",
        (*_EVALUATE, "--checkpoint", "small", "--splats", "--limit", "25"),
        "metrics.json",
    ),
    Claim(
        "pictures",
        "The whole job on pictures of every kind",
        (
            "scripts/benchmark.py",
            "whole_job",
            "--output",
            "{out}/figures.json",
            "--pictures",
            "{assets}/pictures",
            "--keep",
            "{out}",
        ),
        "figures.json",
    ),
    _benchmark(
        "texture_round_trip",
        "A known texture rendered, gathered from the views and rendered again",
        "--models",
        "{assets}/eval",
        "--picture",
        "{out}/comparison.png",
    ),
    _benchmark("texture", "What the texture between the views costs: time, memory, a mesh of a million triangles"),
    _benchmark(
        "texture_from_picture",
        "Meshes textured after one picture",
        "--assets",
        "{assets}",
        "--folder",
        "{out}",
    ),
    _benchmark(
        "texture_methods",
        "Ways to make views of a mesh agree, against true textures",
        "--models",
        "{assets}/models",
        "--folder",
        "{out}",
        "--texture-size",
        "512",
    ),
    _benchmark(
        "cluster",
        "Rendering on two Ray nodes, one lost half-way, and what 800,000 objects would cost",
        "--models",
        "{assets}/mixed_formats",
        "--folder",
        "{out}/jobs",
    ),
    _benchmark(
        "blender",
        "Models to records through Blender: wall time beside Cycles itself, objects an hour",
        "--models",
        "{assets}/mixed_formats",
        "--folder",
        "{out}",
    ),
    _benchmark("blender_kills", "Rendering jobs killed at random moments, and gone on", "--folder", "{out}"),
    _benchmark("whole_job", "The whole job on rendered pictures of well-known models", *_MODELS),
    _benchmark("addon_versions", "The extension in Blender 4.2, 4.5 and 5.0: enabled and disabled twice, nothing left"),
    _benchmark(
        "addon_window",
        "The add-on in a real Blender window, its buttons pressed, from a picture to a textured mesh",
        "--picture",
        "{assets}/pictures/backpack.png",
    ),
    Claim(
        "addon_window_newest",
        "The same in the newest Blender",
        (
            *("scripts/benchmark.py", "addon_window", "--output", "{out}/figures.json", "--suite", "sid"),
            *("--picture", "{assets}/pictures/backpack.png", "--screenshots", "{out}/screenshots"),
        ),
        "figures.json",
    ),
    _benchmark(
        "addon_responsiveness",
        "Whether Blender's window stays alive while the add-on works",
        "--picture",
        "{assets}/pictures/backpack.png",
    ),
    _benchmark(
        "addon_memory",
        "Memory of the worker and of Blender over ten jobs in a row",
        "--picture",
        "{assets}/pictures/backpack.png",
    ),
)
