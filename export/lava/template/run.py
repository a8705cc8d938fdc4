"""Run the network of this folder in Lava, on the CPU.

    python run.py --input messages.npy --output out.npz [--taps]

Needs Lava, not hmdf; see README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Many small processes: threads of a BLAS in each of them would only stand in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

BUNDLE = Path(__file__).resolve().parent
sys.path.insert(0, str(BUNDLE))

MISUSE = 3


def main() -> None:
    arguments = _arguments()
    from hmdf_lava.compat import LavaMissing, import_lava

    try:
        import_lava()
    except LavaMissing as error:
        sys.exit(_misuse(str(error)))
    from hmdf_lava.simulate import UnfitInput, simulate

    try:
        simulate(
            BUNDLE,
            messages=arguments.input,
            output=arguments.output,
            taps=arguments.taps,
            lava_conv=arguments.lava_conv,
            time_limit=arguments.time_limit,
        )
    except UnfitInput as error:
        sys.exit(_misuse(str(error)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the network of this folder in Lava, on the CPU.")
    parser.add_argument("--input", type=Path, required=True, help="messages.npy: integers (N, 1 or T, *input shape)")
    parser.add_argument("--output", type=Path, required=True, help="out.npz: logits, and with --taps all messages")
    parser.add_argument("--taps", action="store_true", help="also write every population's message at every step")
    parser.add_argument("--lava-conv", action="store_true", help="Lava's own Conv model: the same integers, slower")
    parser.add_argument("--time-limit", type=float, default=3600.0, help="seconds after which the run is given up")
    return parser.parse_args()


def _misuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return MISUSE


if __name__ == "__main__":
    main()
