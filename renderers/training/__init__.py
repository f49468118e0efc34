"""Training views drawn on the fly: packed models, their cameras, a pure function of seed and index."""
