"""Reading: records, gaps and cursors as values, and following a topic."""
