"""Writing many records: batches, back-pressure, acknowledgements."""
