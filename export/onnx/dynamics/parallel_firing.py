"""The HM-DF neuron without a membrane."""

from hmdf.sim.contract import ParallelFiring

from .update import Update

UPDATE = Update(
    ParallelFiring,
    "message = GradedSpike(I).",
    """
        message, rest = hmdf.GradedSpike <spike_shift: int = @spike_shift, message_max: int = @message_max>
            (current, threshold)
    """,
    limits=("message_max",),
)
