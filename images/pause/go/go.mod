module wecity.dev/images/pause

go 1.22
