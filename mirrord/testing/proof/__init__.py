"""What must be true of a run: pure functions over what nodes hold and what their clients were told."""
