"""The nodes of a Program under their former module name; they are in `hmdf.sim.contract`. Goes with version 0.3."""

import warnings

from .contract import *  # noqa: F403

warnings.warn("hmdf.sim.nodes is now hmdf.sim.contract", DeprecationWarning, stacklevel=2)
