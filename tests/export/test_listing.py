"""What each pass does to a small network, as text: the papers' equations before and after."""

import torch
from torch import nn

import hmdf
from hmdf.export.config import Config
from hmdf.export.graph import FoldedGraph, LayerGraph
from hmdf.export.listing import listing
from hmdf.sim.program import Program
from hmdf.train.neurons import GradedSpike, HybridFiring
from hmdf.train.synapses import TernaryConv2d


class Net(nn.Module):
    """A convolution and its normalisation, an HM-DF neuron with MPBN, a pool, a classifier; all numbers are round."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = TernaryConv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2, eps=0.0)
        self.fire = HybridFiring(2, 2, mpbn=True, spike=GradedSpike(2, 0.5))
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[[[4.0]]], [[[-4.0]]]]))  # scale 4, integers 1 and -1
            self.norm.running_mean.fill_(8.0)
            self.norm.running_var.fill_(16.0)
            self.norm.bias.copy_(torch.tensor([1.0, 3.0]))
            for norm in self.fire.norms:
                norm.eps = 0.0
                norm.running_mean.fill_(0.5)
                norm.running_var.fill_(4.0)
            self.fire.norms[1].weight.fill_(6.0)  # gamma of the second step
            self.head.weight.copy_(torch.tensor([[1.0, -1.0], [0.5, 0.0]]))
            self.head.bias.copy_(torch.tensor([0.25, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(self.pool(self.fire(self.norm(self.conv(x)))), 1))


def passes(**config: bool) -> dict[str, str]:
    """The text after each pass."""
    seen: dict[str, str] = {}
    x = torch.tensor([[[[-4.0, 4.0], [2.0, 0.0]]]])

    def watch(name: str, graph: LayerGraph | FoldedGraph | Program) -> None:
        seen[name] = listing(graph, values=16)

    hmdf.compile(Net().eval(), x, target="loihi2", config=Config(**config), watch=watch)
    return seen


def test_trace_has_the_layers_as_they_are_written():
    assert (
        passes()["trace"]
        == """\
layers: 2 steps, the logits are head
input 1x2x2 = input
conv 2x2x2 = conv2d(input), ternary weights 2x1x1x1 [1; -1], scale 4, bias 0
norm 2x2x2 = norm(conv), gain 0.25, offset [-1 1]
fire 2x2x2 = firing(norm), HybridFiring: threshold 0.5, spike (bits 2, lsb 0.5), leak 0.5, \
norm (alpha 0.5, beta 0.5, gamma [1 1; 6 6], mean 0.5, variance 4, shift 0, eps 0)
pool 2x1x1 = sum_pool(fire), kernel 2x2, stride 2x2, factor 0.25
flat 2 = flatten(pool)
head 2 = linear(flat), real weights 2x2 [1 -1; 0.5 0], scale 1, bias [0.25 0]
"""
    )


def test_fold_turns_both_normalisations_into_gain_bias_and_leak():
    """eq. 6, 7: at both steps a = alpha + gamma beta / sigma = 0.75 and 2, o = beta gamma mu / sigma = 0.125 and 0.75.

    The current becomes a (0.25 * 4 conv + h) - o with h = -1 and 1, the leak a lambda; the threshold stays.
    """
    assert (
        passes()["fold"]
        == """\
folded: 2 steps, input 1x2x2
conv 2x2x2 = conv2d(input), ternary weights 2x1x1x1 [1; -1]
fire 2x2x2:
    I = [0.75 0.75; 2 2] * conv + [-0.875 0.625; -2.75 1.25]
    HybridFiring: threshold 0.5, spike (bits 2, lsb 0.5), leak [0.375 0.375; 1 1]
pool.window 2x1x1 = sum_pool(fire), kernel 2x2, stride 2x2
pool 2x1x1:
    I = 0.25 * pool.window
    Relay
head 2 = linear(pool), real weights 2x2 [1 -1; 0.5 0]
logits = sum over t of (head + [0.25 0])
"""
    )


def test_merge_pools_repeats_the_weights_of_the_reader():
    """The pool's sum over 2 x 2 goes into the classifier, its factor 1/4 to where the classifier is read."""
    assert (
        passes(merge_pools=True)["merge_pools"]
        == """\
folded: 2 steps, input 1x2x2
conv 2x2x2 = conv2d(input), ternary weights 2x1x1x1 [1; -1]
fire 2x2x2:
    I = [0.75 0.75; 2 2] * conv + [-0.875 0.625; -2.75 1.25]
    HybridFiring: threshold 0.5, spike (bits 2, lsb 0.5), leak [0.375 0.375; 1 1]
head 2 = linear(fire), real weights 2x8 [1 1 1 1 -1 -1 -1 -1; 0.5 0.5 0.5 0.5 0 0 0 0]
logits = sum over t of (0.25 * head + [0.25 0])
"""
    )


def test_quantize_gives_every_value_an_integer_and_a_unit():
    """One LSB of the membrane is that of the spike / 2^12 = 0.5 / 4096, of which everything that `fire` adds is told.

    threshold 0.5 -> 4096, bias -0.875 -> -7168, leak 0.375 -> 6144 / 2^14; the input's LSB is 4 / 127, so the gain 0.75
    -> 0.75 * 4 / 127 * 8192 = 193.5 = 6192 / 2^5. The pool is lossless: 4 spikes of 0..3 need 4 bits, and a quarter of
    their LSB. The classifier's 1 -> 127; its bias 0.25 is 254 of its unit, 0.125 / 127.
    """
    assert (
        passes()["quantize"]
        == """\
program: 2 steps, 24-bit states, 24-bit accumulators
input 1x2x2, constant: sends s8, LSB 0.0314961
conv 2x2x2 = conv2d(input), ternary weights 2x1x1x1 [1; -1]
fire 2x2x2: sends u2, LSB 0.5
    I = rshift([6192 6192; 16513 16513] * conv, 5) + [-7168 5120; -22528 10240]
    hybrid_firing: leak [6144 6144; 16384 16384], leak_shift 14, threshold 4096, spike_shift 12
pool.window 2x1x1 = sum_pool(fire), kernel 2x2, stride 2x2
pool 2x1x1: sends u4, LSB 0.125
    I = pool.window
    relay
head 2 = linear(pool), 8-bit weights 2x2 [127 -127; 64 0]
logits = sum over t of (head + [254 0]), LSB 0.000984252
"""
    )


def test_serialize_sends_every_bit_as_a_message_of_its_own():
    """The table holds bit 0 of 0..3, then bit 1; the bias, -128 or -124, picks one. The pool weighs them by 1 and 2."""
    assert """\
fire.bits.copy 4x2x2 = conv2d(fire), 1-bit weights 4x1x1x1 1, groups 2
fire.bits 4x2x2: sends u1, LSB 0.5
    I = fire.bits.copy + [-128 -124 -128 -124]
    lookup_table: table <256: 0..1>, index_shift 0
pool.window 2x1x1 = conv2d(fire.bits), 4-bit weights 2x2x2x2 \
[1 1; 1 1; 2 2; 2 2; 1 1; 1 1; 2 2; 2 2], stride 2x2, groups 2
""" in passes(serialize_spikes=True)["serialize"]
