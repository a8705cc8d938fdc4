"""Channel attention SECA (HM-DF eq. 8, 9)."""

import torch
from torch import Tensor, nn

from .errors import ModelError


class SECA(nn.Module):
    """Scale a current by an attention over its channels:

        g = sigmoid(conv1d(global_average_pool(P)))        shape (N, C, 1, 1)
        I' = g * I

    with P = I, or, when ``pooled_from`` is given, P = pooled_from. The convolution runs over the channels, its weights
    are shared over time. With I_l this layer's current and I_(l-1) the previous one's, SECA-I is forward(I_l), SECA-II
    as eq. 8 and 9 print it forward(I_(l-1) + I_l), and "II-gate" forward(I_l, I_(l-1) + I_l).

    Args:
        channels: C of the current (N, C, H, W).
        kernel: odd number of neighbouring channels seen.
    """

    def __init__(self, channels: int, kernel: int = 5) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ModelError(f"SECA's kernel must be odd and positive (got {kernel})")
        self.channels = channels
        self.kernel = kernel
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=True)

    def forward(self, current: Tensor, pooled_from: Tensor | None = None) -> Tensor:
        pooled = (current if pooled_from is None else pooled_from).mean((2, 3))
        gate = torch.sigmoid(self.conv(pooled.unsqueeze(1)))
        return current * gate.transpose(1, 2).unsqueeze(-1)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, kernel={self.kernel}"
