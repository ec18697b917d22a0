"""The log of a topic: its state, and the rules that change it."""
