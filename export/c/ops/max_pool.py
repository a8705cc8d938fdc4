"""Max pooling."""

from __future__ import annotations

from hmdf.sim.contract import MaxPool

from ..accumulate import Accumulation, Site

OP = MaxPool


def accumulate(op: MaxPool, site: Site) -> Accumulation:
    window, definition = site.window(op.window)
    (height, width), (sy, sx), (py, px), _ = op.window
    return Accumulation(
        (
            f"largest of windows of {height}x{width}, stride {sy}x{sx}, padding {py}x{px}, which never wins",
            f"acc[c, y, x] = max over u, v of in[c, {sy} * y + u - {py}, {sx} * x + v - {px}]",
        ),
        f"max_pool_{site.source.code}(&{window}, {site.source.text}, y, x, {site.acc});",
        outputs=site.shape[0],
        definitions=(definition,),
    )
