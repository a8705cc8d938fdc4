"""CUDA graphs: the thousand small kernels of a training step recorded once, then launched as one.

At the sizes of these networks a GPU computes a kernel faster than Python asks for the next one.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Graphs"]

# Calls that run unrecorded before one is recorded: libraries choose their algorithms and make their buffers in these.
WARM_UP = 3


class Recording(NamedTuple):
    """A recorded call: the graph, the tensors that it reads, and what it returned (tensors are written in place)."""

    graph: Any
    inputs: tuple[Tensor, ...]
    outputs: Any

    def replay(self, inputs: tuple[Tensor, ...]) -> Any:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs


class Graphs:
    """Runs pieces of a training step, on a GPU by recorded CUDA graphs.

        graphs = Graphs(device, wanted)
        with graphs.stream():
            outputs = graphs.run(key, work, x, labels)

    ``work`` must read the same memory at every call with the same key (parameters, buffers and the given tensors),
    never wait for the GPU, and return what is used up before the next call: the memory of one recording's outputs is
    another's scratch. What it does besides launching kernels happens in the calls before the recording, and in that.

    Attributes:
        enabled: whether anything is recorded; otherwise ``run`` calls.
    """

    def __init__(self, device: torch.device, wanted: bool) -> None:
        self.enabled = wanted and device.type == "cuda"
        self.met: Counter[Hashable] = Counter()
        self.recorded: dict[Hashable, Recording] = {}
        # Recording needs a stream of its own, and the autograd graph must have been made on the same one.
        self.side = torch.cuda.Stream(device) if self.enabled else None
        self.pool = torch.cuda.graph_pool_handle() if self.enabled else None

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Whatever is recorded, and all that trains beside it, must run within this block."""
        if self.side is None:
            yield
            return
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            yield
        torch.cuda.current_stream().wait_stream(self.side)

    def run(self, key: Hashable, work: Callable[..., Any], *inputs: Tensor) -> Any:
        """``work(*inputs)``: called, or recorded once ``key`` and shapes have come up WARM_UP times, or replayed.

        What a replay returns is overwritten by the next call. Raises what ``work`` raises, and RuntimeError where it
        does while being recorded what cannot be, such as waiting for the GPU.
        """
        if not self.enabled:
            return work(*inputs)
        key = key, *(tuple(tensor.shape) for tensor in inputs)
        if key not in self.recorded:
            self.met[key] += 1
            if self.met[key] <= WARM_UP:
                return work(*inputs)
            self.recorded[key] = self._record(work, inputs)
        return self.recorded[key].replay(inputs)

    def _record(self, work: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Recording:
        own = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        # other threads (the one that pins mini-batches) may use the GPU's interface meanwhile
        with torch.cuda.graph(graph, pool=self.pool, stream=self.side, capture_error_mode="thread_local"):
            outputs = work(*own)
        return Recording(graph, own, outputs)
