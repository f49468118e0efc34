"""Texture coordinates: one place for each texel, and which part of the surface it shows."""
