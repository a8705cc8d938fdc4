"""Sum pooling."""

from __future__ import annotations

from hmdf.sim.contract import SumPool

from ..accumulate import Accumulation, Site

OP = SumPool


def accumulate(op: SumPool, site: Site) -> Accumulation:
    window, definition = site.window(op.window)
    (height, width), (sy, sx), (py, px), _ = op.window
    return Accumulation(
        (
            f"sum over windows of {height}x{width}, stride {sy}x{sx}, padding {py}x{px}",
            f"acc[c, y, x] = sum over u, v of in[c, {sy} * y + u - {py}, {sx} * x + v - {px}]",
        ),
        f"sum_pool_{site.source.code}(&{window}, {site.source.text}, y, x, {site.acc});",
        outputs=site.shape[0],
        definitions=(definition,),
    )
