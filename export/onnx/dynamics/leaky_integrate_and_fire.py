"""The leaky integrate-and-fire neuron with a soft reset."""

from hmdf.sim.contract import LeakyIntegrateAndFire

from .update import Update

UPDATE = Update(
    LeakyIntegrateAndFire,
    "m = clamp(rshift(leak * v, leak_shift) + I); message, v = BinarySpike(m).",
    """
        leaked = hmdf.Leak <leak_shift: int = @leak_shift> (v, leak)
        wide = Cast <to = 7> (current)
        raised = Add (leaked, wide)
        m = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (raised)
        message, v_next = hmdf.BinarySpike (m, threshold)
    """,
    limits=("state_min", "state_max"),
)
