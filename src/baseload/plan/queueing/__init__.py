"""What happens to calls that wait for a replica."""
