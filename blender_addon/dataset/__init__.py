"""Dataset: selected objects leave the scene, records come back."""
