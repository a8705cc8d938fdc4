"""What must be settled before anything is imported."""

import os
import signal

# The workers of pytest-xdist share the processors: one thread for each of them, and for the processes that they start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.environ["OMP_WAIT_POLICY"] = "passive"  # where a test asks for two, they sleep when they wait

# A shell starts background commands with interrupts ignored, and so would be all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import torch
from hypothesis import settings

# The same examples in every run: what fails here fails everywhere.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Triton reads it when it is imported, which Lightning does: its kernels are interpreted where there is no GPU.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

LONG = ("test_toy_kind", "test_package", "test_networks", "test_lava", "test_own_network", "test_runners")


def pytest_collection_modifyitems(items: list) -> None:
    """Files of few long tests come first, so that no worker is left with one when the others are done."""
    items.sort(key=lambda item: item.path.stem not in LONG)
