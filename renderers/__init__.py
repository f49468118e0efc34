"""Models to pictures: loading meshes, rendering them fast, casting rays at them."""
