"""What users do with a cluster of real nodes while everything goes wrong, and what must hold of it all the same."""
