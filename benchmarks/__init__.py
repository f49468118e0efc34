"""Programs that measure: one a claim, run by scripts/benchmark.py."""
