"""Names of the files and folders that a result consists of; a later result takes their place. No torch here."""

VIEW_RESULTS = frozenset({"input.png", "views", "transforms.json", "preview.png", "report.json"})
SPLAT_RESULTS = VIEW_RESULTS | {"splats.ply", "splats.spz", "splats.splat", "splats.glb", "turntable.mp4"}
JOINT_RESULTS = frozenset({"picture.png", "sequence.csv", "zoom.mp4", "views", "preview.png", "report.json"})
TEXTURE_RESULTS = VIEW_RESULTS | {"textured.glb", "texture.png", "turntable.mp4"}
RENDER_RESULTS = frozenset({"views", "transforms.json", "report.json"})
