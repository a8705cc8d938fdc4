"""Loihi's own neuron: a current and a membrane with 12-bit decays."""

from hmdf.sim.contract import CurrentBasedLeakyIntegrateAndFire

from .update import Update

UPDATE = Update(
    CurrentBasedLeakyIntegrateAndFire,
    "u = clamp(toward_zero(current_leak * u, 12) + I); m = clamp(toward_zero(leak * v, 12) + u + membrane_bias); "
    "message = [m >= threshold]; v = reset where message, else m.",
    """
        u_kept = hmdf.Decay (u, current_leak)
        wide = Cast <to = 7> (current)
        u_driven = Add (u_kept, wide)
        u_next = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (u_driven)
        u_wide = Cast <to = 7> (u_next)
        bias_wide = Cast <to = 7> (membrane_bias)
        v_kept = hmdf.Decay (v, leak)
        driven = Add (v_kept, u_wide)
        raised = Add (driven, bias_wide)
        m = hmdf.Clamp <low: int = @state_min, high: int = @state_max> (raised)
        fires = GreaterOrEqual (m, threshold)
        message = Cast <to = 6> (fires)
        v_next = Where (fires, reset, m)
    """,
    limits=("state_min", "state_max"),
)
