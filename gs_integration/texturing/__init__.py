"""A texture and the views of its mesh: tied together, denoised together, made one in the end."""
