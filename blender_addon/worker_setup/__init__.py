"""Where the worker comes from: the command that starts it, the environment that it is installed into. No bpy here."""
