"""Many programs in Lava with two imports of it, each of which takes longer than a short run.

`python lava_batch.py FOLDER...` is the process that runs them: each folder holds bundle/ and messages.npy, and gets
out.npz.
"""

import os
import signal
import subprocess
import sys
import traceback
import warnings
from pathlib import Path


def run_in_lava(cases, folder: Path):
    """Taps of every case, by name: `cases` has (program, messages) of each; two processes run half of them each."""
    import numpy as np

    from hmdf.export.lava import export_bundle

    for name, (program, messages) in cases.items():
        (folder / name).mkdir()
        export_bundle(program, folder / name / "bundle")
        np.save(folder / name / "messages.npy", messages)
    paths = [str(folder / name) for name in cases]
    halves = [started(paths[start::2]) for start in (0, 1)]
    for start, half in enumerate(halves):
        try:
            said = half.communicate(timeout=150)[0]
        except subprocess.TimeoutExpired:  # Lava has hung before its own time limit began: seen once in many runs
            warnings.warn("a process with Lava hung and was started again", stacklevel=2)
            os.killpg(half.pid, signal.SIGKILL)
            half.communicate()
            half = started(paths[start::2])
            said = half.communicate(timeout=150)[0]
        assert half.returncode == 0, said.decode()
    return {name: found(folder / name / "out.npz") for name in cases}


def started(paths):
    command = [sys.executable, __file__, *paths]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def found(file: Path):
    import numpy as np

    from hmdf.sim.executor import Taps

    with np.load(file, allow_pickle=False) as arrays:
        taps = {name.removeprefix("taps/"): arrays[name] for name in arrays.files if name != "logits"}
        return Taps(taps, arrays["logits"])


def run(simulate, folder: Path) -> int:
    try:
        simulate(
            folder / "bundle",
            messages=folder / "messages.npy",
            output=folder / "out.npz",
            taps=True,
            lava_conv=False,
            time_limit=120,
        )
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def main(folders: list[Path]) -> None:
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    sys.path.insert(0, str(folders[0] / "bundle"))
    from hmdf_lava.compat import import_lava

    import_lava()

    from hmdf_lava.simulate import simulate

    for folder in folders:
        child = os.fork()
        if not child:
            os._exit(run(simulate, folder))
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            sys.exit(f"{folder.name} failed")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
