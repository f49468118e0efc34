"""Splat files as numpy arrays, without torch: the add-on carries a copy of this folder."""
