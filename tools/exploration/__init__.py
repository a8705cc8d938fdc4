"""What hmdf-explore does: a grid of settings, each compiled, simulated and costed; kept, compared and drawn."""
