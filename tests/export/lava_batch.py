"""Runs bundles with one import of Lava, which takes longer than a short run: `python lava_batch.py FOLDER...`.

Each folder holds bundle/ and messages.npy and gets out.npz. Run by the tests as a process of its own.
"""

import os
import sys
import traceback
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
folders = [Path(name) for name in sys.argv[1:]]
sys.path.insert(0, str(folders[0] / "bundle"))

from hmdf_lava.compat import import_lava  # noqa: E402

import_lava()

from hmdf_lava.simulate import simulate  # noqa: E402


def run(folder: Path) -> int:
    try:
        simulate(
            folder / "bundle",
            messages=folder / "messages.npy",
            output=folder / "out.npz",
            taps=True,
            lava_conv=False,
            time_limit=60,
        )
    except Exception:
        traceback.print_exc()
        return 1
    return 0


for folder in folders:
    child = os.fork()
    if not child:
        os._exit(run(folder))
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"{folder.name} failed")
