"""Whether a program fits a chip, and what it takes to make it fit."""
