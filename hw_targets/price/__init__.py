"""Energy, time and memory of a sample on a chip."""
