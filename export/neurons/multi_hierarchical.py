"""The LM-H neuron: the compiler does not take it yet; a Program may have it."""

REFUSAL = (
    "the multi-hierarchical (LM-H) neuron cannot be compiled yet",
    "use HybridFiring, or write the Program by hand (hmdf.sim.contract.MultiHierarchical)",
)
