import msgspec

from hmdf.sim.finding import Finding


def test_a_finding_reads_as_place_problem_and_fix():
    assert str(Finding("act", "GELU is not supported", "replace it", source="net.py:7")) == (
        "act (net.py:7): GELU is not supported; replace it"
    )
    assert str(Finding("conv", "its message has 3 bits", "", "note")) == "conv: its message has 3 bits"


def test_documents_have_its_place_and_problem_under_their_old_names():
    found = Finding("conv", "too wide", "narrower", resource="weight_bits", needed=8, available=4)
    written = msgspec.json.encode(found)
    assert msgspec.json.decode(written) == {
        "node": "conv",
        "message": "too wide",
        "fix": "narrower",
        "resource": "weight_bits",
        "needed": 8,
        "available": 4,
    }
    assert msgspec.json.decode(written, type=Finding) == found
