"""Who may come in, and over which wire: ``[auth]`` and ``[tls]``. Secrets never stand in a message or a repr."""
