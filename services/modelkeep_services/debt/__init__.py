"""What models owe: liabilities, their charges, and who lives with them until when."""
