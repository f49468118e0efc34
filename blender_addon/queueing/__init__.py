"""Jobs one after another: what is asked for, its files, its progress, its result's steps. No bpy here."""
