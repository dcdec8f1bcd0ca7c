"""What happens in debt."""
