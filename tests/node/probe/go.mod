module wecity.dev/tests/probe

go 1.24
