"""Benchmarks: ratios to a named baseline, both measured in one run, in turns."""
