package main

import (
	"fmt"
	"syscall"
)

// volumeLines tells how full the volume of a directory is, in the text format of metrics; nothing if that is not known.
//
// The size is what can be used of it, without what a file system keeps for root. The images of metrics, logs, the
// registry and the vault have the same file.
func volumeLines(directory string) string {
	var found syscall.Statfs_t
	if syscall.Statfs(directory, &found) != nil {
		return ""
	}
	used := (found.Blocks - found.Bfree) * uint64(found.Bsize)
	size := used + found.Bavail*uint64(found.Bsize)
	return fmt.Sprintf(
		"# TYPE wecity_volume_bytes_used gauge\nwecity_volume_bytes_used %d\n"+
			"# TYPE wecity_volume_bytes_size gauge\nwecity_volume_bytes_size %d\n",
		used, size,
	)
}
