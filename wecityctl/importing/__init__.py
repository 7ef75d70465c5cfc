"""Writing the Cloud document for what exists already: a cluster is read, a vendor's network and cluster are named.

Changes nothing in any cloud; where the text is written to is the command's business.
"""
