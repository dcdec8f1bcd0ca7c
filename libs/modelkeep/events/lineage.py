"""What happens in lineage."""
