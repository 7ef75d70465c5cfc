"""What the policies read in the resources of Nimbus."""

from wecityctl.policy.vendors import Audit

AUDIT = Audit("nimbus:k8s/cluster:Cluster", "nimbus:store/bucket:Bucket", "nimbus:kms/key:Key")
