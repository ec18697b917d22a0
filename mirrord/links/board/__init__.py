"""What the links of a node know together: who brings what, what waits, who stands where."""
