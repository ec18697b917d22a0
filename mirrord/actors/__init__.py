"""Mailbox, bell, supervisor: what makes a task an actor."""
