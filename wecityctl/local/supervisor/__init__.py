"""The small process that outlives the command line and keeps one cloud's services running.

It reads the list of services it is given and knows nothing of Kubernetes. `client` is how others talk to it.
"""
