"""Fuzzes every reader, guided by coverage (Atheris), and keeps what they do that they must not.

    python benchmarks/fuzz.py --minutes 10
    python benchmarks/fuzz.py --minutes 60 --reader hmdf --reader npz

Every reader of tests/fuzz_readers.py gets an equal share of the time. What is worth keeping grows in build/fuzz/READER,
from the corpus that is committed; findings are written to build/fuzz/findings and named at the end: exit status 5. A
finding becomes a test when its file is put into tests/fuzz_corpus/READER. Programs that load run with the bounds of
every load and store of the kernels checked.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
MORE_SEEDS = {"hmdf": TESTS / "sim/version1", "target": ROOT / "hw_targets/chips", "config": ROOT / "train/configs"}
LIMITS = (
    "-timeout=300",
    "-report_slow_units=300",
    "-rss_limit_mb=4000",
    "-max_len=65536",
    "-print_final_stats=1",
    "-verbosity=1",
)
NOT_INSTRUMENTED = ["hmdf.sim.kernels", "hmdf.train.fused"]  # Numba compiles their byte code
ENVIRONMENT = {"HMDF_FUZZ_CHECKED": "1", "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
sys.path.insert(0, str(TESTS))


@click.command(help=__doc__)
@click.option("--minutes", default=10.0, show_default=True, help="Of all readers together, on one processor.")
@click.option("--reader", "names", multiple=True, help="Only these  [default: all]")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes.")
@click.option("--one", hidden=True)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "build/fuzz", show_default=True)
def main(minutes: float, names: tuple[str, ...], jobs: int, one: str | None, out: Path) -> None:
    if one is not None:
        fuzz(one, 60 * minutes, out)
    from fuzz_readers import READERS

    names = names or tuple(READERS)
    share = minutes * min(jobs, len(names)) / len(names)
    (out / "findings").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        inputs = list(pool.map(lambda name: run(name, share, out), names))
    for name, count in zip(names, inputs, strict=True):
        click.echo(f"{name:12}{count:>12,} inputs")
    click.echo(f"{'together':12}{sum(inputs):>12,} inputs")
    if findings := sorted((out / "findings").glob("*.why")):
        click.echo(f"{len(findings)} findings:")
        for path in findings:
            click.echo(path)
        sys.exit(5)
    click.echo("nothing but clear errors")


def run(name: str, minutes: float, out: Path) -> int:
    """Fuzz one reader in processes of their own, since a crash ends one; the number of inputs."""
    end, inputs = time.monotonic() + 60 * minutes, 0
    while (left := end - time.monotonic()) > 1:
        command = [sys.executable, __file__, "--one", name, "--minutes", str(left / 60), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ | ENVIRONMENT)
        inputs += sum(map(int, re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)))
        if done.returncode:
            (out / "findings" / f"{name}-stopped-{int(time.time())}.why").write_text(done.stderr[-20_000:])
    return inputs


def fuzz(name: str, seconds: float, out: Path) -> None:
    """Fuzz one reader in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["hmdf", "zipfile", "tomllib"], exclude=NOT_INSTRUMENTED):
        from fuzz_readers import CORPUS, READERS, Finding, check
    reader = READERS[name]
    folder = Path(tempfile.mkdtemp(prefix="hmdf-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))

    def test(content: bytes) -> None:
        try:
            check(name, content, folder)
        except Finding as finding:
            keep(name, content, str(finding), reader.suffix, out / "findings")

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        return reader.mutate(content, rng, lambda part: atheris.Mutate(part, len(part) + 64))[:most]

    grown = out / name
    grown.mkdir(parents=True, exist_ok=True)
    seeds = [CORPUS / name, *([MORE_SEEDS[name]] if name in MORE_SEEDS else [])]
    for file in (CORPUS / name).iterdir():  # what is compiled or imported late is no input's fault
        test(file.read_bytes())
    options = [*LIMITS, f"-max_total_time={max(1, int(seconds))}", f"-artifact_prefix={out / 'findings' / name}-"]
    atheris.Setup([sys.argv[0], *options, str(grown), *map(str, seeds)], test, custom_mutator=mutate)
    atheris.Fuzz()


def keep(name: str, content: bytes, finding: str, suffix: str, folder: Path) -> None:
    """The first input of each kind of finding, with what it did."""
    kind = hashlib.sha256(re.sub(r"\d+|'[^']*'|\"[^\"]*\"", "", finding[:200]).encode()).hexdigest()[:12]
    path = folder / f"{name}-{kind}{suffix}"
    if not path.exists():
        path.write_bytes(content)
        path.with_name(f"{path.name}.why").write_text(finding)


if __name__ == "__main__":
    main()
