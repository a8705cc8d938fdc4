"""A function of the current, as a table."""

from hmdf.sim.contract import LookupTable

from .update import Update

UPDATE = Update(
    LookupTable,
    "message = table[clamp(rshift(I, index_shift), -128, 127) + 128].",
    """
        wide = Cast <to = 7> (current)
        scaled = hmdf.RoundingShift <shift: int = @index_shift> (wide)
        signed = hmdf.Clamp <low = -128, high = 127> (scaled)
        middle = Constant <value = int32 {128}> ()
        index = Add (signed, middle)
        message = Gather <axis = 0> (table, index)
    """,
)
