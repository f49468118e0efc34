"""Model files to mesh parts: each format checked before a loader sees it."""
