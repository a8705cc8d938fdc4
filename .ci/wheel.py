"""The wheel in build/wheel, built twice with equal bytes, and its bill of materials (CycloneDX).

python .ci/wheel.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT, OUT = Path(__file__).parents[1], Path("build/wheel")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def main() -> None:
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    committed = subprocess.run(["git", "log", "-1", "--format=%ct"], check=True, capture_output=True, text=True)
    time = committed.stdout.strip()
    os.umask(0o022)  # the modes of files are in a wheel
    # What else differs between two machines: folder, time zone, order of hashes, times of files.
    first, second = build(time, "UTC", "1"), build(time, "Asia/Tokyo", "2")
    if first.read_bytes() != second.read_bytes():
        sys.exit(f"{first} and {second} differ")
    wheel = Path(shutil.copy(first, OUT))
    environment = OUT / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-c", "constraints.txt", wheel], check=True)
    subprocess.run([*pip, "uninstall", "-y", "pip", "setuptools"], check=True)
    bill = wheel.with_suffix(".cdx.json")
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--output-format", "JSON", "-o", bill]
    subprocess.run([sys.executable, "-m", "cyclonedx_py", "environment", *options, python], check=True)
    shutil.rmtree(environment)
    print(f"{wheel}: built twice, equal; {bill}")


def build(time: str, zone: str, seed: str) -> Path:
    """The wheel of the last commit, in a folder of its own."""
    tree, out = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    archive = subprocess.run(["git", "archive", "HEAD"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-m", "-C", tree], input=archive, check=True)
    environment = os.environ | {"SOURCE_DATE_EPOCH": time, "TZ": zone, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", BUILD, out]
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return next(out.iterdir())


if __name__ == "__main__":
    main()
