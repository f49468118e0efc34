"""Runs in the environment of make test-nerfstudio: a record as nerfstudio's own parser and dataset see it, as .npz.

    read_record.py RECORD OUTPUT.npz

Nothing of this project is imported.
"""

# pyright: reportMissingImports=false

import sys
from pathlib import Path

import numpy as np
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.data.datasets.depth_dataset import DepthDataset

record, output = Path(sys.argv[1]), sys.argv[2]
# Its defaults turn, move and scale a scene to what its trainers like; here the scene is wanted as it is.
config = NerfstudioDataParserConfig(
    data=record,
    orientation_method="none",
    center_method="none",
    auto_scale_poses=False,
    downscale_factor=1,
    eval_mode="all",
)
outputs = config.setup().get_dataparser_outputs(split="train")
cameras = outputs.cameras
dataset = DepthDataset(outputs, scale_factor=1.0)
arrays = {
    "files": np.array([str(path.relative_to(record)) for path in outputs.image_filenames]),
    "camera_to_worlds": cameras.camera_to_worlds.numpy(),
    "intrinsics": np.stack([getattr(cameras, name).numpy()[:, 0] for name in ("fx", "fy", "cx", "cy")], axis=1),
    "sizes": np.stack([cameras.width.numpy()[:, 0], cameras.height.numpy()[:, 0]], axis=1),
    "scale": np.array([outputs.dataparser_scale, outputs.metadata["depth_unit_scale_factor"]]),
}
for index in range(len(dataset)):
    rays = cameras.generate_rays(camera_indices=index)
    arrays[f"origins_{index}"] = rays.origins.numpy()
    arrays[f"directions_{index}"] = rays.directions.numpy()
    arrays[f"depth_{index}"] = dataset[index]["depth_image"].numpy()[..., 0]
    arrays[f"image_{index}"] = dataset.get_numpy_image(index)
np.savez(output, **arrays)
