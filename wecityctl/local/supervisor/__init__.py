"""The supervisor: a small background process per cloud that keeps its services running.

It runs the services that it is given and knows nothing of Kubernetes. Other packages use `client`.
"""
