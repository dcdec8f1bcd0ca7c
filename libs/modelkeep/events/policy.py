"""What happens in policy."""
