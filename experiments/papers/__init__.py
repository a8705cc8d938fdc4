"""The papers' own runs."""
