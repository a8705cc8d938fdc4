"""A leaky membrane that is sent as it is."""

from hmdf.sim.contract.dynamics import ToyIntegrator

from .update import Update

UPDATE = Update(
    ToyIntegrator,
    "v = clamp(rshift(leak * v, leak_shift) + I); message = clamp(v, message range).",
    """
        leaked = hmdf.Leak <leak_shift: int = @leak_shift> (v, leak)
        wide = Cast <to = 7> (current)
        raised = Add (leaked, wide)
        v_next = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (raised)
        low = Constant <value_int: int = @message_min> ()
        high = Constant <value_int: int = @message_max> ()
        smallest = Cast <to = 6> (low)
        largest = Cast <to = 6> (high)
        message = Clip (v_next, smallest, largest)
    """,
    limits=("state_min", "state_max", "message_min", "message_max"),
)
