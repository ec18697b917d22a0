"""Streams: topics pushed to whoever watches them. All who are caught up share one reading and one encoding."""
