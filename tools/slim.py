"""``hmdf-slim``: a trained model with its low-bit weights packed, a tenth as long, which computes the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from .console import console, run_cli


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A file, or a folder for model.pt.")
def slim_command(model: Path, out: Path) -> None:
    """Write MODEL with its low-bit weights packed: the same integers and scales; it cannot be resumed."""
    from hmdf.train import checkpoint

    path = out if out.suffix == ".pt" and not out.is_dir() else out / "model.pt"
    found = checkpoint.load(model)
    if path.exists() and path.samefile(model):
        raise click.UsageError(f"--out {out}: {model} would be replaced, and could not be got back; give another name.")
    checkpoint.save(path, dataclasses.replace(found, slim=True, resume=None))
    sizes = f"{path.stat().st_size / 1e6:.2f} MB instead of {model.stat().st_size / 1e6:.2f} MB"
    console().print(f"wrote {path}: {sizes}; it computes the same and cannot be resumed", soft_wrap=True)


def main() -> None:
    """Entry point of ``hmdf-slim``."""
    run_cli(slim_command)


if __name__ == "__main__":
    main()
