"""Training and distillation of view generators: objectives, one trainer, data."""
