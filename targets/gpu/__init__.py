"""What GPU families share."""
