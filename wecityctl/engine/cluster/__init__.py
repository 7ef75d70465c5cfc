"""Examines and corrects objects on clusters: drift, undeclared, lost and remaining objects."""
