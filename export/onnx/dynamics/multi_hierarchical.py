"""The LM-H neuron: a dendrite and a soma, coupled."""

from hmdf.sim.contract import MultiHierarchical

from .update import Update

UPDATE = Update(
    MultiHierarchical,
    "d = clamp(rshift(dendrite_leak * d, s) + rshift(dendrite_feedback * v, s) + I); "
    "m = clamp(rshift(soma_leak * v, s) + rshift(soma_drive * d, s)); message, v = BinarySpike(m).",
    """
        kept = hmdf.Leak <leak_shift: int = @leak_shift> (d, dendrite_leak)
        fed_back = hmdf.Leak <leak_shift: int = @leak_shift> (v, dendrite_feedback)
        inner = Add (kept, fed_back)
        wide = Cast <to = 7> (current)
        raised = Add (inner, wide)
        d_next = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (raised)
        leaked = hmdf.Leak <leak_shift: int = @leak_shift> (v, soma_leak)
        driven = hmdf.Leak <leak_shift: int = @leak_shift> (d_next, soma_drive)
        soma = Add (leaked, driven)
        m = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (soma)
        message, v_next = hmdf.BinarySpike (m, threshold)
    """,
    limits=("state_min", "state_max"),
)
