"""The policy rules: rules over the city's model and resource graph, and the admission policies that hold them in
clusters.

Pure: nothing here reads a file, runs a program or asks a cluster.
"""
