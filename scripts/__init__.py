"""Command lines: each program reads its settings, calls one pipeline and saves the result."""
