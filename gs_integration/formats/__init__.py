"""Splat files as numpy arrays, with numpy and the standard library alone: the add-on carries a copy of this folder."""
