"""Finished points, each kept in a file of its own: an interrupted exploration goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hmdf.sim.files import write_whole

from ..documents.exploration import Point


class Store:
    """Points by their keys in FOLDER/points/KEY.json; every file is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError when the folder cannot be made."""
        self.folder = folder / "points"
        self.folder.mkdir(parents=True, exist_ok=True)

    def keep(self, point: Point) -> None:
        """Write a point; OSError when that fails."""
        write_whole(self.folder / f"{point.key}.json", msgspec.json.format(msgspec.json.encode(point), indent=1))

    def find(self, key: str) -> Point | None:
        """The kept point, None when there is none or its file is damaged (it is then measured again)."""
        try:
            point = msgspec.json.decode((self.folder / f"{key}.json").read_bytes(), type=Point)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return point if point.key == key else None
