"""The nodes of a Program under their former module name; they are in `hmdf.sim.contract`. Goes with version 0.3."""

from .contract import *  # noqa: F403
