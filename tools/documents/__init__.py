"""The JSON files: what is in them, and how they are read and written."""
