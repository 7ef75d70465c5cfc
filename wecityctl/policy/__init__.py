"""The policy rules: rules over the city's model and resource graph, and the admission policies that enforce them.

Pure: nothing here reads a file, runs a program or makes a request to a cluster.
"""
