"""A current that is passed on."""

from hmdf.sim.contract import Relay

from .update import Update

UPDATE = Update(
    Relay,
    "message = clamp(I, message range).",
    """
        low = Constant <value_int: int = @message_min> ()
        high = Constant <value_int: int = @message_max> ()
        smallest = Cast <to = 6> (low)
        largest = Cast <to = 6> (high)
        message = Clip (current, smallest, largest)
    """,
    limits=("message_min", "message_max"),
)
