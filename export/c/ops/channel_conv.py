"""A convolution along the channels."""

from __future__ import annotations

from hmdf.sim.contract import ChannelConv

from ..accumulate import Accumulation, Site, check_sums, flat_table

OP = ChannelConv


def accumulate(op: ChannelConv, site: Site) -> Accumulation:
    check_sums(site, op.weight[None])
    table = flat_table(site, op.weight, op.weight_bits, "tap")
    channels = site.shape[0]
    return Accumulation(
        (
            f"convolution along the channels, {len(op.weight)} taps",
            f"acc[c] = sum over j of w[j] * in[c + j - {op.padding}]",
        ),
        f"channel_conv_{site.source.code}_{op.weight_bits}({channels}, {op.padding}, {site.source.text}, "
        f"{table.name}, {site.acc});",
        outputs=channels,
        tables=(table,),
    )
