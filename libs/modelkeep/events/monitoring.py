"""What happens in monitoring."""
