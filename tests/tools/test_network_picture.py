"""The drawing of the network: edges that skip rows and edges that go back have lanes of their own."""

import re

from hmdf.tools.documents.report import ReadBy
from hmdf.tools.reporting.html.network import _edge, _lanes


def test_an_edge_that_goes_back_is_drawn_upwards_in_a_free_lane():
    names = ["input", "back", "a", "on", "b", "head"]
    order = {name: row for row, name in enumerate(names)}
    pairs = [("b", "back"), ("input", "a"), ("back", "a"), ("a", "on"), ("on", "b"), ("b", "head"), ("a", "head")]
    edges = [ReadBy(source, reader, "current", None) for source, reader in pairs]
    lanes = _lanes(edges, order)
    assert lanes == {"input": 0, "b back": 1, "a": 0}
    path = str(_edge(edges[0], order, lanes, spine=50))
    start, end = re.findall(r"M50 (\d+)C.* 50 (\d+)\"", path)[0]
    assert int(start) > int(end)
