import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chip_networks import TOY_CHIP, resnet18, toy_network

from hmdf.hw_targets.target import parse_target


@pytest.fixture
def toy_chip():
    """A function from replacements in the toy chip's file to the target."""

    def make(*replacements: tuple[str, str]):
        text = TOY_CHIP
        for old, new in replacements:
            assert old in text, f"nothing to replace: {old}"
            text = text.replace(old, new)
        return parse_target(text, "toy.toml")

    return make


@pytest.fixture(scope="session")
def toy():
    return toy_network()


@pytest.fixture(scope="session")
def big():
    return resnet18()
