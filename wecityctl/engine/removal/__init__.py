"""What a `destroy` deletes, what it keeps, and how the next run takes back what was kept."""
