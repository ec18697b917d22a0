"""What is deleted of a log: kept as bitmaps, decided in the topic's turn."""
