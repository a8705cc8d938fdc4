"""A network of integers as Lava Processes: built from `graph.json` and `arrays.npz`, run on Lava's CPU backend."""
