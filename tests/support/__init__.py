"""What tests share: certificates, a control plane of their own, and the fixtures over them."""
