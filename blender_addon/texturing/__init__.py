"""Texture mesh: a mesh leaves the scene with cameras around it, a material comes back."""
