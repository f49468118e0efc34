"""Generate views: a picture of the scene or a file becomes cameras with pictures."""
