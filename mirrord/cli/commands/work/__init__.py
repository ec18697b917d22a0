"""Records that are shared out among workers: queues and reader groups."""
