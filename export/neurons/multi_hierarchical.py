"""The LM-H neuron: nothing trains it here, so there is nothing to compile it from; a Program may still have it."""

REFUSAL = (
    "the multi-hierarchical (LM-H) neuron cannot be compiled: how its normalisation is folded is not worked out",
    "use HybridFiring, or write the Program by hand (hmdf.sim.contract.MultiHierarchical)",
)
