"""The files that a result consists of, as patterns; a later result takes their place. No torch here."""

_VIEWS = "views/[0-9]*.png"

VIEW_RESULTS = frozenset({"input.png", _VIEWS, "transforms.json", "preview.png", "report.json"})
SPLAT_RESULTS = VIEW_RESULTS | {"splats.ply", "splats.spz", "splats.splat", "splats.glb", "turntable.mp4"}
JOINT_RESULTS = frozenset({"picture.png", "sequence.csv", "zoom.mp4", _VIEWS, "preview.png", "report.json"})
TEXTURE_RESULTS = VIEW_RESULTS | {"textured.glb", "texture.png", "turntable.mp4"}
RENDER_RESULTS = frozenset({_VIEWS, "transforms.json", "report.json"})
