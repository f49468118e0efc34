"""Processes beside Blender: the worker spoken to through pipes, programs with a log. No bpy here."""
