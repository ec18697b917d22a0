"""Lease queues: records of a topic, each given to one worker for a while."""
