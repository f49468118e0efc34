"""Models to records through headless Blender: photoreal colour, exact cameras, depth and normals."""
