"""The packages: each top-level folder is one of hmdf's, `sim/` imported as `hmdf.sim`, with all folders in it."""

from setuptools import find_packages, setup

FOLDERS = ("train", "export", "sim", "hw_targets", "tools")

directories = {"hmdf": "hmdf"}
for folder in FOLDERS:
    for package in [folder, *(f"{folder}.{name}" for name in find_packages(folder))]:
        directories[f"hmdf.{package}"] = package.replace(".", "/")

setup(packages=list(directories), package_dir=directories)
