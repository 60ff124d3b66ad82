"""The kernel that takes anything, and the scheduler behind it."""
