"""hmdf-compile: what it prints, beyond what other tests ask of it."""

from hmdf.sim import storage
from hmdf.sim.listing import listing


def test_what_passes_made_is_printed(demo, call):
    """The program is listed as it is, here to the last number."""
    passes = [option for name in ("fold", "quantize") for option in ("--print-after", name)]
    outcome = call("compile", demo.model, "--samples", "64", "--check", *passes)
    assert outcome.code == 0, outcome.err
    before, after = outcome.out.split("after quantize:\n")
    assert before.startswith("after fold:\nfolded: 2 steps, input 1x8x8\n")
    assert "HybridFiring: threshold" in before
    assert after.startswith(listing(storage.load(demo.program)))


def test_a_pass_that_is_not_made_is_not_asked_for_in_silence(demo, call):
    for name, option in (("merge_pools", "--merge-pools"), ("serialize", "--serialize-spikes")):
        outcome = call("compile", demo.model, "--check", "--print-after", name)
        assert outcome.code == 2
        assert f"--print-after {name}: the pass is made with {option} only" in outcome.err
    outcome = call("compile", demo.model, "--samples", "64", "--check", "--merge-pools", "--print-after", "merge_pools")
    assert outcome.code == 0, outcome.err
    assert "after merge_pools:\n" in outcome.out


def test_a_pass_that_is_not_there_is_named(demo, call):
    outcome = call("compile", demo.model, "--check", "--print-after", "melt")
    assert outcome.code == 2
    assert "'melt' is not one of 'trace', 'fold', 'merge_pools', 'quantize', 'serialize'" in outcome.err
