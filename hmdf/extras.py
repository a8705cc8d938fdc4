"""Packages that hmdf runs without: what installs each, and the one message for a missing one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

INSTALL = {
    **dict.fromkeys(("torch", "lightning", "sklearn", "PIL", "kornia"), "'hmdf[train]'"),
    **dict.fromkeys(("onnx", "onnxruntime"), "'hmdf[onnx]'"),
    **dict.fromkeys(("nir", "h5py"), "'hmdf[nir]'"),
    "aedat": "'hmdf[aedat4]'",
    "matplotlib": "'hmdf[report]'",
    "distributed": "'hmdf[explore]'",
    "tensorboard": "tensorboard",
}
"""What pip installs to bring a package, by the package's name in an import."""


class MissingExtraError(ModuleNotFoundError):
    """An optional package is not installed; the message says what needs it and how to install it."""

    exit_code = 3


def require(module: str, purpose: str = "this") -> Any:
    """Import a module of an optional package.

    Args:
        purpose: what needs it, as the message begins: "this needs torch, which is not installed ...".

    Raises:
        MissingExtraError: its package, or one that it imports, is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (missing := explained(error, purpose)) is None:
            raise
        raise missing from None


def explained(error: ModuleNotFoundError, purpose: str = "this") -> MissingExtraError | None:
    """The error as one that says what to install; None for a module that is no optional package's."""
    if isinstance(error, MissingExtraError):
        return error
    package = (error.name or "").partition(".")[0]
    if package not in INSTALL:
        return None
    text = f"{purpose} needs {package}, which is not installed: pip install {INSTALL[package]}"
    return MissingExtraError(text, name=error.name)
