"""Programs as self-contained Lava bundles, and the executor that runs them. Lava is never imported here."""

from .bundle import export_bundle
from .executor import Lava, LavaError, run_bundle

__all__ = ["Lava", "LavaError", "export_bundle", "run_bundle"]
