"""A leaky membrane that is sent itself."""

from hmdf.sim.contract import LeakyIntegrator

from .update import Update

UPDATE = Update(
    LeakyIntegrator,
    "v = clamp(rshift(leak * v, leak_shift) + I); message = clamp(rshift(v, message_shift), message range).",
    """
        leaked = hmdf.Leak <leak_shift: int = @leak_shift> (v, leak)
        wide = Cast <to = 7> (current)
        raised = Add (leaked, wide)
        v_next = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (raised)
        v_wide = Cast <to = 7> (v_next)
        scaled = hmdf.RoundingShift <shift: int = @message_shift> (v_wide)
        message = hmdf.Clamp <low: int = @message_min, high: int = @message_max> (scaled)
    """,
    limits=("state_min", "state_max", "message_min", "message_max"),
)
