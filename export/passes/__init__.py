"""The compiler's passes: each takes a graph, or a Program, and returns a new one; what it was given is not changed."""
