"""The HM-DF neuron."""

from hmdf.sim.contract import HybridFiring

from .update import Update

UPDATE = Update(
    HybridFiring,
    "m = clamp(rshift(leak * v, leak_shift) + I); message, v = GradedSpike(m).",
    """
        leaked = hmdf.Leak <leak_shift: int = @leak_shift> (v, leak)
        wide = Cast <to = 7> (current)
        raised = Add (leaked, wide)
        m = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (raised)
        message, v_next = hmdf.GradedSpike <spike_shift: int = @spike_shift, message_max: int = @message_max>
            (m, threshold)
    """,
    limits=("state_min", "state_max", "message_max"),
)
