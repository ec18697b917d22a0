"""What a queue decides, without waiting: who holds which record, who gets the next one, what must be kept for it."""
