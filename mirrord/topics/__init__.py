"""Topics: one named append-only log each, changed only by its own task."""
