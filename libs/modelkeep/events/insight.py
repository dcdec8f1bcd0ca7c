"""What happens in insight."""
