"""Lease queues from a user's side: jobs that are one worker's for a while."""
