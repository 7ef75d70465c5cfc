package confined

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"
)

// rules says for each text in the input of a method of Storage, by its place there, what it may be. An input with a text
// that is not here keeps the server from starting: an upgrade that brings one needs a decision whether it ends in a path.
var rules = func() map[string]rule {
	found := map[string]rule{
		"Bucket":                   isBucket,
		"Key":                      isKey,
		"Delete.Objects.Key":       isKey,
		"UploadId":                 isUpload,
		"VersionId":                isVersion,
		"Delete.Objects.VersionId": isVersion,
		"CopySource":               isCopySource,
		"Prefix":                   isPrefix,
	}
	// Compared, parsed, or kept as they are in an attribute of a file.
	for _, name := range strings.Fields(`
		ACL BucketNamespace CacheControl ContentDisposition ContentEncoding ContentLanguage ContentMD5 ContentType
		ChecksumAlgorithm ChecksumCRC32 ChecksumCRC32C ChecksumCRC64NVME ChecksumMD5 ChecksumMode ChecksumSHA1
		ChecksumSHA256 ChecksumSHA512 ChecksumType ChecksumXXHASH128 ChecksumXXHASH3 ChecksumXXHASH64
		ContinuationToken CopySourceIfMatch CopySourceIfNoneMatch CopySourceRange CopySourceSSECustomerAlgorithm
		CopySourceSSECustomerKey CopySourceSSECustomerKeyMD5 CreateBucketConfiguration.Bucket.DataRedundancy
		CreateBucketConfiguration.Bucket.Type CreateBucketConfiguration.Location.Name
		CreateBucketConfiguration.Location.Type CreateBucketConfiguration.LocationConstraint
		CreateBucketConfiguration.Tags.Key CreateBucketConfiguration.Tags.Value Delete.Objects.ETag Delimiter
		EncodingType ExpectedBucketOwner ExpectedSourceBucketOwner Expires GrantFullControl GrantRead GrantReadACP
		GrantWrite GrantWriteACP IfMatch IfNoneMatch KeyMarker MFA Marker Metadata MetadataDirective
		MultipartUpload.Parts.ChecksumCRC32 MultipartUpload.Parts.ChecksumCRC32C
		MultipartUpload.Parts.ChecksumCRC64NVME MultipartUpload.Parts.ChecksumMD5 MultipartUpload.Parts.ChecksumSHA1
		MultipartUpload.Parts.ChecksumSHA256 MultipartUpload.Parts.ChecksumSHA512
		MultipartUpload.Parts.ChecksumXXHASH128 MultipartUpload.Parts.ChecksumXXHASH3
		MultipartUpload.Parts.ChecksumXXHASH64 MultipartUpload.Parts.ETag ObjectAttributes ObjectLockLegalHoldStatus
		ObjectLockMode ObjectOwnership OptionalObjectAttributes Owner PartNumberMarker Range RequestPayer
		ResponseCacheControl ResponseContentDisposition ResponseContentEncoding ResponseContentLanguage
		ResponseContentType SSECustomerAlgorithm SSECustomerKey SSECustomerKeyMD5 SSEKMSEncryptionContext SSEKMSKeyId
		ServerSideEncryption StartAfter StorageClass Tagging TaggingDirective UploadIdMarker WebsiteRedirectLocation
	`) {
		found[name] = isText
	}
	return found
}()

// A field is a text in an input: where it is, and what it may be. `index` leads through structures alone.
type field struct {
	index []int
	check rule
}

// fields returns the texts of an input of this type that have to be checked. Lists of structures are checked by the
// method that takes them, see Storage.DeleteObjects. It fails for texts without a rule.
func fields(input reflect.Type) ([]field, error) {
	var found []field
	var unknown []string
	var walk func(kind reflect.Type, name string, index []int, isList bool)
	walk = func(kind reflect.Type, name string, index []int, isList bool) {
		switch kind.Kind() {
		case reflect.Pointer:
			walk(kind.Elem(), name, index, isList)
		case reflect.Slice, reflect.Array, reflect.Map:
			if kind.Elem().Kind() != reflect.Uint8 {
				walk(kind.Elem(), name, index, true)
			}
		case reflect.String:
			check, isKnown := rules[name]
			if !isKnown {
				unknown = append(unknown, name)
			} else if !isList && reflect.ValueOf(check).Pointer() != reflect.ValueOf(isText).Pointer() {
				found = append(found, field{index, check})
			}
		case reflect.Struct:
			if kind == reflect.TypeFor[time.Time]() {
				return
			}
			for number := range kind.NumField() {
				one := kind.Field(number)
				if one.IsExported() {
					place := append(append([]int(nil), index...), number)
					walk(one.Type, strings.TrimPrefix(name+"."+one.Name, "."), place, isList)
				}
			}
		}
	}
	walk(input, "", nil, false)
	if unknown != nil {
		sort.Strings(unknown)
		return nil, fmt.Errorf("no rule says what these may be in %s: %s", input, strings.Join(unknown, ", "))
	}
	return found, nil
}

// check applies the rules to the texts of an input, which is a structure or a pointer to one. Absent ones are not checked.
func check(input any, all []field) error {
	value := reflect.Indirect(reflect.ValueOf(input))
	for _, one := range all {
		text, ok := at(value, one.index)
		if !ok {
			continue
		}
		if err := one.check(text); err != nil {
			return err
		}
	}
	return nil
}

func at(value reflect.Value, index []int) (string, bool) {
	for _, number := range index {
		if value.Kind() == reflect.Pointer {
			if value.IsNil() {
				return "", false
			}
			value = value.Elem()
		}
		value = value.Field(number)
	}
	if value.Kind() == reflect.Pointer {
		if value.IsNil() {
			return "", false
		}
		value = value.Elem()
	}
	return value.String(), true
}
