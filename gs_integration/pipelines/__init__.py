"""From a picture to views and to splats: what the scripts and the worker call."""
