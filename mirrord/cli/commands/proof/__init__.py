"""Verbs that prove: two nodes against each other, the whole against seeded faults."""
