"""The leaky integrate-and-fire neuron with a hard reset."""

from hmdf.sim.contract import HardResetIntegrateAndFire

from .update import Update

UPDATE = Update(
    HardResetIntegrateAndFire,
    "m = clamp(rshift(leak * v, leak_shift) + I); message = [m >= threshold]; v = reset where message, else m.",
    """
        leaked = hmdf.Leak <leak_shift: int = @leak_shift> (v, leak)
        wide = Cast <to = 7> (current)
        raised = Add (leaked, wide)
        m = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (raised)
        fires = GreaterOrEqual (m, threshold)
        message = Cast <to = 6> (fires)
        v_next = Where (fires, reset, m)
    """,
    limits=("state_min", "state_max"),
)
