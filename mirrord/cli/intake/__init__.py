"""From a file or a pipe to records that are written exactly once."""
