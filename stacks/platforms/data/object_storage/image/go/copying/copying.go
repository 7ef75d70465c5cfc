// Package copying writes all objects of a bucket to a stream and reads them back, as a client of the S3 protocol.
//
// The stream is a tar archive: for each object an entry whose PAX records have its key and what belongs to it, and at
// the end an entry with their number. An archive without it is not whole.
package copying

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	objectEntry, endEntry  = "object", "end"
	keyRecord, aboutRecord = "WECITY.key", "WECITY.about"
	// Bytes of an object that are in memory at a time. Larger ones are sent in parts of this size.
	partSize = 8 << 20
)

// ErrOccupied is returned by Restore for a bucket that has objects, where it was not to replace any.
var ErrOccupied = errors.New("the bucket has objects")

// Server says where the server answers and who asks. Authority is a file with certificates in PEM; empty for a plain
// connection.
type Server struct {
	Host, Port, Region, Access, Secret, Authority string
}

// about is what belongs to an object beside its key and content.
type about struct {
	ContentType        *string           `json:"contentType,omitempty"`
	ContentEncoding    *string           `json:"contentEncoding,omitempty"`
	ContentDisposition *string           `json:"contentDisposition,omitempty"`
	ContentLanguage    *string           `json:"contentLanguage,omitempty"`
	CacheControl       *string           `json:"cacheControl,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	Tags               []types.Tag       `json:"tags,omitempty"`
}

// Client returns a client of the server.
func Client(server Server) (*s3.Client, error) {
	scheme, transport := "http", http.DefaultTransport.(*http.Transport).Clone()
	if server.Authority != "" {
		pem, err := os.ReadFile(server.Authority)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificates", server.Authority)
		}
		scheme, transport.TLSClientConfig = "https", &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return s3.New(s3.Options{
		BaseEndpoint:               aws.String(scheme + "://" + server.Host + ":" + server.Port),
		Region:                     server.Region,
		Credentials:                credentials.NewStaticCredentialsProvider(server.Access, server.Secret, ""),
		UsePathStyle:               true,
		HTTPClient:                 &http.Client{Transport: transport},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	}), nil
}

// Dump writes the objects of a bucket to the stream. Objects that are deleted meanwhile are left out.
func Dump(ctx context.Context, client *s3.Client, bucket string, stream io.Writer) error {
	archive, count := tar.NewWriter(stream), 0
	err := each(ctx, client, bucket, func(key string) error {
		written, err := dumpObject(ctx, client, bucket, key, archive)
		if written {
			count++
		}
		return err
	})
	if err != nil {
		return err
	}
	number := strconv.Itoa(count)
	if err := archive.WriteHeader(&tar.Header{Name: endEntry, Size: int64(len(number)), Mode: 0o600}); err != nil {
		return err
	}
	if _, err := io.WriteString(archive, number); err != nil {
		return err
	}
	return archive.Close()
}

func each(ctx context.Context, client *s3.Client, bucket string, do func(key string) error) error {
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list %s: %w", bucket, err)
		}
		for _, item := range page.Contents {
			if err := do(*item.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

func dumpObject(ctx context.Context, client *s3.Client, bucket, key string, archive *tar.Writer) (bool, error) {
	found, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	var gone *types.NoSuchKey
	if errors.As(err, &gone) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	defer found.Body.Close()
	said := about{
		ContentType: found.ContentType, ContentEncoding: found.ContentEncoding,
		ContentDisposition: found.ContentDisposition, ContentLanguage: found.ContentLanguage,
		CacheControl: found.CacheControl, Metadata: found.Metadata,
	}
	if aws.ToInt32(found.TagCount) > 0 {
		tags, err := client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return false, fmt.Errorf("read the tags of %s: %w", key, err)
		}
		said.Tags = tags.TagSet
	}
	text, err := json.Marshal(said)
	if err != nil {
		return false, err
	}
	header := &tar.Header{
		Name: objectEntry, Size: aws.ToInt64(found.ContentLength), Mode: 0o600, Format: tar.FormatPAX,
		PAXRecords: map[string]string{keyRecord: key, aboutRecord: string(text)},
	}
	if err := archive.WriteHeader(header); err != nil {
		return false, fmt.Errorf("write %s: %w", key, err)
	}
	copied, err := io.Copy(archive, found.Body)
	if err == nil && copied != header.Size {
		err = io.ErrUnexpectedEOF
	}
	return true, wrap(err, "read "+key)
}

// Restore makes the objects of the stream those of the bucket, and deletes all others once the stream was read to its
// end. Without replace, a bucket that has objects is left alone.
func Restore(ctx context.Context, client *s3.Client, bucket string, stream io.Reader, replace bool) error {
	if !replace {
		found, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, MaxKeys: aws.Int32(1)})
		if err != nil {
			return fmt.Errorf("list %s: %w", bucket, err)
		}
		if len(found.Contents) > 0 {
			return ErrOccupied
		}
	}
	archive, restored := tar.NewReader(stream), map[string]bool{}
	for {
		header, err := archive.Next()
		if err != nil {
			return fmt.Errorf("the stream ends before its end: %w", err)
		}
		if header.Name == endEntry {
			break
		}
		key, said := header.PAXRecords[keyRecord], about{}
		if err := json.Unmarshal([]byte(header.PAXRecords[aboutRecord]), &said); err != nil || key == "" {
			return fmt.Errorf("the stream has an entry of no object: %w", err)
		}
		if err := restoreObject(ctx, client, bucket, key, said, header.Size, archive); err != nil {
			return fmt.Errorf("write %s: %w", key, err)
		}
		restored[key] = true
	}
	number, err := io.ReadAll(io.LimitReader(archive, 32))
	if err != nil || string(number) != strconv.Itoa(len(restored)) {
		return fmt.Errorf("the stream has %d objects, and says %q", len(restored), number)
	}
	// What reads the stream to its end knows whether it was whole.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return err
	}
	return each(ctx, client, bucket, func(key string) error {
		if restored[key] {
			return nil
		}
		_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		return wrap(err, "delete "+key)
	})
}

func restoreObject(
	ctx context.Context, client *s3.Client, bucket, key string, said about, size int64, content io.Reader,
) error {
	if size <= partSize {
		body := make([]byte, size)
		if _, err := io.ReadFull(content, body); err != nil {
			return err
		}
		_, err := client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &bucket, Key: &key, Body: bytes.NewReader(body), ContentType: said.ContentType,
			ContentEncoding: said.ContentEncoding, ContentDisposition: said.ContentDisposition,
			ContentLanguage: said.ContentLanguage, CacheControl: said.CacheControl, Metadata: said.Metadata,
		})
		if err != nil {
			return err
		}
	} else if err := restoreInParts(ctx, client, bucket, key, said, content); err != nil {
		return err
	}
	if len(said.Tags) == 0 {
		return nil
	}
	_, err := client.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{
		Bucket: &bucket, Key: &key, Tagging: &types.Tagging{TagSet: said.Tags},
	})
	return err
}

func restoreInParts(ctx context.Context, client *s3.Client, bucket, key string, said about, content io.Reader) error {
	upload, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &bucket, Key: &key, ContentType: said.ContentType, ContentEncoding: said.ContentEncoding,
		ContentDisposition: said.ContentDisposition, ContentLanguage: said.ContentLanguage,
		CacheControl: said.CacheControl, Metadata: said.Metadata,
	})
	if err != nil {
		return err
	}
	parts, buffer := []types.CompletedPart{}, make([]byte, partSize)
	for number := int32(1); ; number++ {
		read, err := io.ReadFull(content, buffer)
		if err == io.EOF {
			break
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return err
		}
		sent, err := client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &bucket, Key: &key, UploadId: upload.UploadId, PartNumber: aws.Int32(number),
			Body: bytes.NewReader(buffer[:read]),
		})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{ETag: sent.ETag, PartNumber: aws.Int32(number)})
	}
	_, err = client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: upload.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
