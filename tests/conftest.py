"""What must be settled before anything is imported."""

import os

import torch

# Triton reads it when it is imported, which Lightning does: its kernels are interpreted where there is no GPU.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
