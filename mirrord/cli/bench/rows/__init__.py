"""What is measured: one function a row, from a ground to figures."""
