"""Real daemons on this machine, with faulty lines between them, and the proof of what they hold."""
