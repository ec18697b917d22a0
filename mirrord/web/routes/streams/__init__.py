"""Watching: server-sent events, and WebSockets."""
