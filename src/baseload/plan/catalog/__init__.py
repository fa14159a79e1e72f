"""What can be bought and rented, each row with its source and date."""
