"""Learning: cameras, pictures, diffusion, the view generator and its distillation."""
