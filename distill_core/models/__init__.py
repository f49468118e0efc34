"""The view generator and its parts."""
