"""What is said to a topic: append, read, watch, delete."""
