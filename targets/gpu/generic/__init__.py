"""The kernel that takes anything."""
