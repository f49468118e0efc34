"""What a surface looks like to published ControlNets: pictures of its depth and of its normals."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_FARTHEST = 0.2
"""Grey of the farthest point of an object, so that its outline can be told from the black behind it."""


def depth_control(depth: Float[Tensor, "views height width"]) -> Float[Tensor, "views 3 height width"]:
    """Return inverse depth as published depth ControlNets were trained on it: near is bright.

    Monocular depth, which they know, has no scale: inverse depth is stretched in each view from 0.2 at the farthest
    point of the object to 1 at the nearest; what is empty is 0.

    Args:
        depth: z-depth, 0 where empty.
    """
    covered = depth > 0
    inverse = torch.where(covered, 1 / torch.where(covered, depth, 1), 0)
    nearest = inverse.amax((1, 2), keepdim=True)
    farthest = torch.where(covered, inverse, nearest).amin((1, 2), keepdim=True)
    flat = nearest <= farthest
    rise = torch.where(flat, 1, (inverse - farthest) / torch.where(flat, 1, nearest - farthest))
    grey = torch.where(covered, _FARTHEST + (1 - _FARTHEST) * rise, 0)
    return grey[:, None].expand(-1, 3, -1, -1)


def normal_control(
    normals: Float[Tensor, "views 3 height width"],
    covered: Bool[Tensor, "views height width"],
    camera_to_world: Float[Tensor, "views 4 4"],
) -> Float[Tensor, "views 3 height width"]:
    """Return normals as ControlNet 1.1's normal network (NormalBae) knows them: red left, green up, blue to the viewer.

    A component of -1..1 is drawn as 0..1. What is empty faces the viewer: 0.5, 0.5, 1.

    Args:
        normals: unit, in the world's axes.
        covered: where there are any.
        camera_to_world: of cameras with x to the right, y down, z forward.
    """
    own = torch.einsum("vji,vjhw->vihw", camera_to_world[:, :3, :3].to(normals), normals)
    # Left, up and towards the viewer are the camera's axes turned around.
    colours = ((1 - own) / 2).clamp(0, 1)
    empty = colours.new_tensor([0.5, 0.5, 1.0]).reshape(1, 3, 1, 1)
    return torch.where(covered[:, None], colours, empty)
