"""Configuration: its keys, their limits, and where a value came from."""
