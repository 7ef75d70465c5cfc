"""Creates the Cloud document for existing resources: reads a cluster, or takes a vendor's network and cluster by name.

Changes nothing in any cloud. The command decides where the text is written.
"""
