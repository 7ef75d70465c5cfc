package confined

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
)

// The longest name of an object, in bytes, as in S3.
const maxKey = 1024

var (
	buckets = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	// As github.com/google/uuid writes them, with which the backend names uploads.
	uploads = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	// A ULID. The parser that the backend uses takes any 26 bytes.
	versions = regexp.MustCompile(`^(|null|[0-7][0-9A-HJKMNP-TV-Z]{25})$`)
)

// A rule returns the error with which a request is refused that says this.
type rule func(text string) error

func isText(string) error { return nil }

func isBucket(name string) error {
	if !buckets.MatchString(name) {
		return s3err.GetBucketErr(s3err.ErrInvalidBucketName, name)
	}
	return nil
}

// isKey takes the names that are paths below the bucket as they stand: the backend would clean others, so that one object
// had several names. The backend's own directory in each bucket is no object.
func isKey(key string) error {
	if len(key) > maxKey {
		return s3err.GetKeyTooLongErr(int64(len(key)), maxKey)
	}
	local := strings.TrimSuffix(key, "/")
	if local == "" || local == "." || strings.ContainsRune(key, 0) || !filepath.IsLocal(local) ||
		path.Clean(local) != local || hasComponent(local, posix.MetaTmpDir) {
		return s3err.InvalidArgumentError{Description: "Invalid object key", ArgumentName: "key", ArgumentValue: key}
	}
	return nil
}

// isPrefix takes what keys may begin with: all but its last component is complete.
func isPrefix(prefix string) error {
	directory, _ := path.Split(prefix)
	if strings.ContainsRune(prefix, 0) || hasComponent(directory, ".", "..", posix.MetaTmpDir) {
		return s3err.InvalidArgumentError{Description: "Invalid prefix", ArgumentName: "prefix", ArgumentValue: prefix}
	}
	return nil
}

func isUpload(id string) error {
	if !uploads.MatchString(id) {
		return s3err.GetNoSuchUploadErr(id)
	}
	return nil
}

func isVersion(id string) error {
	if !versions.MatchString(id) {
		return s3err.GetInvalidArgumentErr(s3err.InvalidArgVersionId, id)
	}
	return nil
}

func isCopySource(source string) error {
	bucket, key, version, err := backend.ParseCopySource(source)
	if err != nil {
		return err
	}
	if isBucket(bucket) != nil {
		return s3err.GetInvalidArgumentErr(s3err.InvalidArgCopySourceBucket, source)
	}
	if isKey(key) != nil {
		return s3err.GetInvalidArgumentErr(s3err.InvalidArgCopySourceObject, key)
	}
	return isVersion(version)
}

func hasComponent(name string, wanted ...string) bool {
	for _, component := range strings.Split(name, "/") {
		for _, one := range wanted {
			if component == one {
				return true
			}
		}
	}
	return false
}
