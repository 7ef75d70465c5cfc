module wecity.dev/vault

go 1.26.5
