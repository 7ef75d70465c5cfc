// Package confined keeps what a request names below the bucket that its signature and policy are checked for.
//
// The gateway checks the bucket and the key in a request's address. Its backend joins other texts of requests to paths as
// they are: the id of an upload, and keys in bodies. `..` in them led to other buckets, and to the users' file.
// Here every text that ends in a path is checked before the backend has it.
package confined

import (
	"context"
	"fmt"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// Storage passes on what the platform and its apps use of a backend. It does not embed the backend: what is not written
// here is answered as not implemented, and that includes methods that an upgrade brings.
type Storage struct {
	backend.BackendUnsupported
	inner  backend.Backend
	fields map[reflect.Type][]field
}

var _ backend.Backend = (*Storage)(nil)

// New returns the checks before `inner`. It fails if an input of a method has a text for which there is no rule.
func New(inner backend.Backend) (*Storage, error) {
	storage := &Storage{inner: inner, fields: map[reflect.Type][]field{}}
	for _, input := range []any{
		s3response.ListBucketsInput{}, s3.HeadBucketInput{}, s3.GetBucketAclInput{}, s3.CreateBucketInput{},
		s3response.CreateMultipartUploadInput{}, s3.CompleteMultipartUploadInput{}, s3.AbortMultipartUploadInput{},
		s3.ListMultipartUploadsInput{}, s3.ListPartsInput{}, s3.UploadPartInput{}, s3.UploadPartCopyInput{},
		s3response.PutObjectInput{}, s3.HeadObjectInput{}, s3.GetObjectInput{}, s3.GetObjectAttributesInput{},
		s3response.CopyObjectInput{}, s3.ListObjectsInput{}, s3.ListObjectsV2Input{}, s3.DeleteObjectInput{},
		s3.DeleteObjectsInput{},
	} {
		kind := reflect.TypeOf(input)
		found, err := fields(kind)
		if err != nil {
			return nil, err
		}
		storage.fields[kind] = found
	}
	return storage, nil
}

// passed calls a method of the backend after the checks of its input.
func passed[I, O any](s *Storage, ctx context.Context, input I, call func(context.Context, I) (O, error)) (O, error) {
	if err := s.check(input); err != nil {
		var nothing O
		return nothing, err
	}
	return call(ctx, input)
}

func (s *Storage) check(input any) error {
	kind := reflect.TypeOf(input)
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	found, isKnown := s.fields[kind]
	if !isKnown {
		return fmt.Errorf("%s has no rules", kind)
	}
	return check(input, found)
}

func (s *Storage) String() string { return s.inner.String() }

func (s *Storage) Shutdown() { s.inner.Shutdown() }

// NormalizeObjectKey is for comparisons with policies, and touches no file.
func (s *Storage) NormalizeObjectKey(bucket, object string) string {
	return s.inner.NormalizeObjectKey(bucket, object)
}

func (s *Storage) ListBuckets(
	ctx context.Context, input s3response.ListBucketsInput,
) (s3response.ListAllMyBucketsResult, error) {
	return passed(s, ctx, input, s.inner.ListBuckets)
}

func (s *Storage) HeadBucket(ctx context.Context, input *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	return passed(s, ctx, input, s.inner.HeadBucket)
}

func (s *Storage) GetBucketAcl(ctx context.Context, input *s3.GetBucketAclInput) ([]byte, error) {
	return passed(s, ctx, input, s.inner.GetBucketAcl)
}

func (s *Storage) CreateBucket(ctx context.Context, input *s3.CreateBucketInput, acl []byte) error {
	if err := s.check(input); err != nil {
		return err
	}
	return s.inner.CreateBucket(ctx, input, acl)
}

func (s *Storage) DeleteBucket(ctx context.Context, bucket string) error {
	if err := isBucket(bucket); err != nil {
		return err
	}
	return s.inner.DeleteBucket(ctx, bucket)
}

func (s *Storage) GetBucketVersioning(
	ctx context.Context, bucket string,
) (s3response.GetBucketVersioningOutput, error) {
	if err := isBucket(bucket); err != nil {
		return s3response.GetBucketVersioningOutput{}, err
	}
	return s.inner.GetBucketVersioning(ctx, bucket)
}

func (s *Storage) PutBucketPolicy(ctx context.Context, bucket string, policy []byte) error {
	if err := isBucket(bucket); err != nil {
		return err
	}
	return s.inner.PutBucketPolicy(ctx, bucket, policy)
}

func (s *Storage) GetBucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	if err := isBucket(bucket); err != nil {
		return nil, err
	}
	return s.inner.GetBucketPolicy(ctx, bucket)
}

func (s *Storage) DeleteBucketPolicy(ctx context.Context, bucket string) error {
	if err := isBucket(bucket); err != nil {
		return err
	}
	return s.inner.DeleteBucketPolicy(ctx, bucket)
}

func (s *Storage) GetBucketOwnershipControls(ctx context.Context, bucket string) (types.ObjectOwnership, error) {
	if err := isBucket(bucket); err != nil {
		return "", err
	}
	return s.inner.GetBucketOwnershipControls(ctx, bucket)
}

func (s *Storage) GetBucketCors(ctx context.Context, bucket string) ([]byte, error) {
	if err := isBucket(bucket); err != nil {
		return nil, err
	}
	return s.inner.GetBucketCors(ctx, bucket)
}

// GetObjectLockConfiguration is asked for before an object is deleted or written again. No bucket has one.
func (s *Storage) GetObjectLockConfiguration(ctx context.Context, bucket string) ([]byte, error) {
	if err := isBucket(bucket); err != nil {
		return nil, err
	}
	return s.inner.GetObjectLockConfiguration(ctx, bucket)
}

func (s *Storage) CreateMultipartUpload(
	ctx context.Context, input s3response.CreateMultipartUploadInput,
) (s3response.InitiateMultipartUploadResult, error) {
	return passed(s, ctx, input, s.inner.CreateMultipartUpload)
}

func (s *Storage) CompleteMultipartUpload(
	ctx context.Context, input *s3.CompleteMultipartUploadInput,
) (s3response.CompleteMultipartUploadResult, string, error) {
	if err := s.check(input); err != nil {
		return s3response.CompleteMultipartUploadResult{}, "", err
	}
	return s.inner.CompleteMultipartUpload(ctx, input)
}

func (s *Storage) AbortMultipartUpload(ctx context.Context, input *s3.AbortMultipartUploadInput) error {
	if err := s.check(input); err != nil {
		return err
	}
	return s.inner.AbortMultipartUpload(ctx, input)
}

func (s *Storage) ListMultipartUploads(
	ctx context.Context, input *s3.ListMultipartUploadsInput,
) (s3response.ListMultipartUploadsResult, error) {
	return passed(s, ctx, input, s.inner.ListMultipartUploads)
}

func (s *Storage) ListParts(ctx context.Context, input *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	return passed(s, ctx, input, s.inner.ListParts)
}

func (s *Storage) UploadPart(ctx context.Context, input *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	return passed(s, ctx, input, s.inner.UploadPart)
}

func (s *Storage) UploadPartCopy(
	ctx context.Context, input *s3.UploadPartCopyInput,
) (s3response.CopyPartResult, error) {
	return passed(s, ctx, input, s.inner.UploadPartCopy)
}

func (s *Storage) PutObject(
	ctx context.Context, input s3response.PutObjectInput,
) (s3response.PutObjectOutput, error) {
	return passed(s, ctx, input, s.inner.PutObject)
}

func (s *Storage) HeadObject(ctx context.Context, input *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	return passed(s, ctx, input, s.inner.HeadObject)
}

func (s *Storage) GetObject(ctx context.Context, input *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	return passed(s, ctx, input, s.inner.GetObject)
}

func (s *Storage) GetObjectAttributes(
	ctx context.Context, input *s3.GetObjectAttributesInput,
) (s3response.GetObjectAttributesResponse, error) {
	return passed(s, ctx, input, s.inner.GetObjectAttributes)
}

func (s *Storage) CopyObject(
	ctx context.Context, input s3response.CopyObjectInput,
) (s3response.CopyObjectOutput, error) {
	return passed(s, ctx, input, s.inner.CopyObject)
}

func (s *Storage) ListObjects(
	ctx context.Context, input *s3.ListObjectsInput,
) (s3response.ListObjectsResult, error) {
	return passed(s, ctx, input, s.inner.ListObjects)
}

func (s *Storage) ListObjectsV2(
	ctx context.Context, input *s3.ListObjectsV2Input,
) (s3response.ListObjectsV2Result, error) {
	return passed(s, ctx, input, s.inner.ListObjectsV2)
}

func (s *Storage) DeleteObject(ctx context.Context, input *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	return passed(s, ctx, input, s.inner.DeleteObject)
}

// DeleteObjects refuses each object whose name or version is none, as S3 does, and deletes the others.
func (s *Storage) DeleteObjects(
	ctx context.Context, input *s3.DeleteObjectsInput,
) (s3response.DeleteResult, error) {
	if err := s.check(input); err != nil {
		return s3response.DeleteResult{}, err
	}
	if input.Delete == nil {
		return s3response.DeleteResult{}, s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	var taken []types.ObjectIdentifier
	var refused []types.Error
	for _, object := range input.Delete.Objects {
		if err := deletable(object); err != nil {
			refused = append(refused, s3err.ObjectDeleteError(object.Key, object.VersionId, err))
		} else {
			taken = append(taken, object)
		}
	}
	wanted, list := *input, *input.Delete
	list.Objects = taken
	wanted.Delete = &list
	result, err := s.inner.DeleteObjects(ctx, &wanted)
	result.Error = append(result.Error, refused...)
	return result, err
}

func deletable(object types.ObjectIdentifier) error {
	if object.Key == nil {
		return isKey("")
	}
	if err := isKey(*object.Key); err != nil {
		return err
	}
	if object.VersionId == nil {
		return nil
	}
	return isVersion(*object.VersionId)
}

func (s *Storage) GetObjectTagging(
	ctx context.Context, bucket, object, version string,
) (map[string]string, error) {
	if err := named(bucket, object, version); err != nil {
		return nil, err
	}
	return s.inner.GetObjectTagging(ctx, bucket, object, version)
}

func (s *Storage) PutObjectTagging(
	ctx context.Context, bucket, object, version string, tags map[string]string,
) error {
	if err := named(bucket, object, version); err != nil {
		return err
	}
	return s.inner.PutObjectTagging(ctx, bucket, object, version, tags)
}

func (s *Storage) DeleteObjectTagging(ctx context.Context, bucket, object, version string) error {
	if err := named(bucket, object, version); err != nil {
		return err
	}
	return s.inner.DeleteObjectTagging(ctx, bucket, object, version)
}

func named(bucket, object, version string) error {
	if err := isBucket(bucket); err != nil {
		return err
	}
	if err := isKey(object); err != nil {
		return err
	}
	return isVersion(version)
}
