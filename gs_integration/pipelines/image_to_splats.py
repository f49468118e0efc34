"""One picture to splats.

The generated views and the picture itself, which is exact, are fitted with splats that begin on the predicted solid.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float

from distill_core import metrics
from distill_core.cameras import Camera
from distill_core.models.view_generator import ViewGenerator
from distill_core.pictures.images import Picture, resize_premultiplied
from distill_core.progress import Progress
from distill_core.solids import Solid
from gs_integration.fitting.initialization import splats_from_hull, unproject
from gs_integration.fitting.optimization import fit_splats
from gs_integration.fitting.visual_hull import HullGrid, solid_grid, visual_hull
from gs_integration.pipelines.devices import splat_device
from gs_integration.pipelines.image_to_views import image_to_views
from gs_integration.pipelines.result_files import over_white, render_over_white
from gs_integration.pipelines.results import GeneratedViews, SplatsFromPicture
from gs_integration.pipelines.settings import ImageToSplatsSettings
from gs_integration.splats import Splats

FIT_PX = 256
"""Side of the pictures that splats are fitted to: the source keeps its detail, generated views are enlarged."""

_SOURCE_COLOUR_WEIGHT = 4.0
"""How much more the picture is believed than a generated view where splats get their first colours."""


def image_to_splats(
    picture: Picture, settings: ImageToSplatsSettings, generator: ViewGenerator, progress: Progress
) -> SplatsFromPicture:
    """Make splats of the object in a picture.

    Args:
        picture: one object, with alpha or before a background that can be told from it.
        settings: everything a person can choose.
        generator: the loaded checkpoint of the settings.
        progress: stages "picture", "views", and those of the fit.

    Raises:
        UserError: no object can be found in the picture.
    """
    views = image_to_views(picture, settings.views, generator, progress)
    splats = splats_of_views(views, settings, progress)
    rendered = render_over_white(splats, [views.source.camera])[0]
    truth = over_white(views.source.rgba)
    return SplatsFromPicture(
        settings=settings,
        views=views,
        splats=splats,
        source_psnr=float(metrics.psnr(rendered, truth)),
        source_psnr_inside=float(metrics.psnr(rendered, truth, mask=views.source.rgba[3] > 0.5)),
    )


def splats_of_views(views: GeneratedViews, settings: ImageToSplatsSettings, progress: Progress) -> Splats:
    """Fit splats to generated views and to the picture that they were generated from, where the solid was predicted.

    Args:
        views: the picture and the views around it.
        settings: where splats begin and how they are fitted; the seed is the generator's.
        progress: stages of the fit.

    Returns:
        Splats in the world's axes, on the CPU.
    """
    seed = settings.views.generator.seed
    cameras, pictures = fitted_views(views)
    progress.stage("beginning", None)
    grid = with_source_surface(solid_of_views(views, settings.begin_from), views)
    colour_weights = np.ones(len(cameras))
    colour_weights[0] = _SOURCE_COLOUR_WEIGHT
    initial = splats_from_hull(
        grid, cameras, pictures, num_splats=settings.fit.num_splats, seed=seed, view_weights=colour_weights
    )
    initial = initial.to(splat_device(views.solid.occupancy.device))
    result = fit_splats(cameras, pictures, initial, settings.fit, progress, source_view=0, hull=grid, seed=seed)
    return result.splats.detach().to("cpu")


def fitted_views(views: GeneratedViews) -> tuple[list[Camera], Float[np.ndarray, "views 4 side side"]]:
    """Return the source, then the generated views, all at the size at which splats are fitted."""
    cameras = [camera.resized(FIT_PX, FIT_PX) for camera in (views.source.camera, *views.cameras)]
    pictures = [resize_premultiplied(picture, FIT_PX, FIT_PX) for picture in (views.source.rgba, *views.pictures)]
    return cameras, np.stack(pictures)


def solid_of_views(views: GeneratedViews, begin_from: str) -> HullGrid:
    """Return the solid on which splats begin: the predicted one, or the hull of the views' silhouettes.

    Args:
        views: the picture and the views around it.
        begin_from: "solid" or "hull".
    """
    if begin_from == "solid":
        return solid_grid(lambda points: occupancy_at(views.solid, points))
    size = views.pictures.shape[:1:-1]
    source_alpha = resize_premultiplied(views.source.rgba, *size)[3]
    alphas = np.concatenate([source_alpha[None], views.pictures[:, 3]])
    return visual_hull([views.source.camera.resized(*size), *views.cameras], alphas, allowed_misses=1)


def with_source_surface(grid: HullGrid, views: GeneratedViews) -> HullGrid:
    """Add the surface that the picture shows: what it shows is there, however faint in the prediction.

    Args:
        grid: a solid of the object.
        views: the picture and its predicted solid, which says how far each pixel is.
    """
    camera, alpha = views.source.camera, views.source.rgba[3]
    with torch.inference_mode():
        depth = functional.interpolate(views.solid.front_depth(), alpha.shape, mode="nearest")[0, 0].cpu().numpy()
    rows, columns = np.nonzero(alpha > 0.5)
    points = unproject(camera, columns + 0.5, rows + 0.5, depth[rows, columns])
    place = np.floor((points - grid.corner) / grid.voxel_size).astype(np.int64)
    place = place[((place >= 0) & (place < grid.occupied.shape)).all(axis=1)]
    occupied = grid.occupied.copy()
    occupied[tuple(place.T)] = True
    return replace(grid, occupied=occupied)


def occupancy_at(solid: Solid, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
    """Return the occupancy of the first solid at world points."""
    with torch.inference_mode():
        device = solid.occupancy.device
        batch = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(device)[None]
        return solid.at(batch, torch.zeros(1, dtype=torch.long, device=device))[0].cpu().numpy()
