"""What runs look at, and put right, on clusters: drift, undeclared, lost and remaining objects."""
