"""The integer world: the Program, its file, its executors. Nothing here imports torch."""
