"""Many programs in Lava with two imports of it, each of which takes longer than a short run.

`python lava_batch.py FOLDER...` is the process that runs them: each folder holds bundle/ and messages.npy, and gets
out.npz.
"""

import os
import subprocess
import sys
import traceback
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
    halves = [
        subprocess.Popen(
            [sys.executable, __file__, *paths[start::2]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        for start in (0, 1)
    ]
    said = [half.communicate(timeout=300)[0].decode() for half in halves]
    assert [half.returncode for half in halves] == [0, 0], "\n".join(said)
    return {name: found(folder / name / "out.npz") for name in cases}


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
