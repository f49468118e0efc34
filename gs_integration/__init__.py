"""Splats and textures: formats, rasterization, fitting, and the pipelines that scripts and the worker call."""
