"""Where models come from: each source yields objects with their licence and author."""
