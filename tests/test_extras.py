"""Packages that may be missing: one message each, with what pip installs."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from hmdf.extras import INSTALL, MissingExtraError, explained, require

PROJECT = Path(__file__).parent.parent / "pyproject.toml"


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "aedat", None)
    text = "recording.aedat4: AEDAT 4 needs aedat, which is not installed: pip install 'hmdf[aedat4]'"
    with pytest.raises(MissingExtraError, match=re.escape(text)):
        require("aedat", "recording.aedat4: AEDAT 4")


def test_a_package_that_is_there_is_imported():
    assert require("json.decoder").JSONDecoder


def test_another_missing_module_is_a_fault_and_stays_one():
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as error:
        require("no_such_module")
    assert not isinstance(error.value, MissingExtraError)
    assert explained(error.value) is None


def test_what_is_to_be_installed_can_be():
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    named = {match[1] for text in INSTALL.values() if (match := re.fullmatch(r"'hmdf\[(\w+)\]'", text))}
    assert named <= set(extras)
