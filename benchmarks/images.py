"""Images of the size of ImageNet's from class folders: what the decoder alone gives, and what training gets.

    python benchmarks/images.py --processes 2

Makes a folder of JPEG files of 500 x 375 pixels, about 95 kB each as in ImageNet (noise on smooth colours), and reads
it in as many processes: with nothing but Pillow's decoder, which keeps the pixels to itself; with the decoder and
NumPy, as an RGB array; and as mini-batches of hmdf-train with --resized-crop and --flip, 224 x 224 pixels, as its
workers hand them on. Per image and process, medians of rounds in turn: time of the processor, and time that passed; and
the ratios of the decoder's to the loader's.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from hmdf.train.augment import preparation
from hmdf.train.batches import MiniBatches
from hmdf.train.config import TrainingConfig
from hmdf.train.data import load
from hmdf.train.networks import NetworkSpec

BATCH, ROUNDS = 64, 5


@click.command(help=__doc__)
@click.option("--images", default=128, show_default=True)
@click.option("--processes", default=2, show_default=True)
def main(images: int, processes: int) -> None:
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        root = Path(folder)
        make(root / "imagenet", images)
        works = {"decoder": decode, "RGB array": decode_to_array, "hmdf-train": mini_batches}
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                seconds[name] += pool.map(partial(timed, work, root), range(processes))
    medians = {name: np.median(figures, 0) / images * 1e3 for name, figures in seconds.items()}
    for name, times in medians.items():
        ratios = "  ratio {:.2f} {:.2f}".format(*(times / medians["hmdf-train"]))
        click.echo("{:12}{:8.2f} ms of a processor {:8.2f} ms passed{}".format(name, *times, ratios))


def make(root: Path, images: int) -> None:
    rng = np.random.default_rng(0)
    for index in range(images):
        smooth = Image.fromarray(rng.integers(0, 256, (15, 20, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        pixels = np.asarray(smooth) + rng.normal(0, 14, (375, 500, 3))
        for split in ("train", "val") if index < 4 else ("train",):
            path = root / split / f"class{index % 4}" / f"{index}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=92)


def timed(work: Callable[[Path], None], root: Path, number: int) -> tuple[float, float]:
    """(seconds of the processor, seconds that passed)."""
    torch.set_num_threads(1)
    start = time.process_time(), time.perf_counter()
    work(root)
    return time.process_time() - start[0], time.perf_counter() - start[1]


def decode(root: Path) -> None:
    for path in sorted((root / "imagenet/train").rglob("*.JPEG")):
        with Image.open(path) as image:
            image.load()


def decode_to_array(root: Path) -> None:
    for path in sorted((root / "imagenet/train").rglob("*.JPEG")):
        with Image.open(path) as image:
            np.asarray(image)


def mini_batches(root: Path) -> None:
    data = load("imagenet", "train", root)
    spec = NetworkSpec("resnet34", (3, 224, 224), len(data.class_names), stem="imagenet")
    config = TrainingConfig(batch_size=BATCH)
    batches = MiniBatches(data, config, preparation(spec, config, data.preprocessing), parts_of=(224, True))
    for number in range(len(data) // BATCH):
        batches.read(1, number)


if __name__ == "__main__":
    main()
