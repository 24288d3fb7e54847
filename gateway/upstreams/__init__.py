"""Ways to reach an engine: one file each."""
