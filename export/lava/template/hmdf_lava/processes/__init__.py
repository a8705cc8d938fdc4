"""One Process and its fixed-point model per file.

Lava's compiler executes every file of this folder when it looks for models: nothing here may have side effects.
"""
