"""Records, chunks, strands, positions: what a log is made of. Pure functions of their arguments."""
