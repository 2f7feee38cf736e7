"""Benchmarks: each measures in one run what it compares, so that only ratios need to be believed."""
