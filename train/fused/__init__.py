"""Training arithmetic in as few passes over memory as it needs: for a CPU by Numba, for a GPU by Triton."""
