"""What people hand in: records from a file or a pipe, each written exactly once; durations and places as written."""
