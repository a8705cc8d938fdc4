"""Where the layers of a program lie on the cores of a chip."""
