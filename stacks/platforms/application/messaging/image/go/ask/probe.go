package ask

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	prefix = "probe-"
	// How old a stream is that a killed probe has left, when another one removes it.
	abandoned = 10 * time.Minute
)

// Probe publishes a message into a stream of its own, reads it back, deletes the stream, and lists the accounts. PORT is
// that of clients.
func Probe(ctx context.Context, arguments []string) error {
	door, _, err := open("probe", arguments)
	if err != nil {
		return err
	}
	settings, err := authority()
	if err != nil {
		return err
	}
	options := []nats.Option{nats.UserInfo(administrator, door.password), nats.Timeout(5 * time.Second)}
	scheme := "nats"
	if settings != nil {
		scheme, options = "tls", append(options, nats.Secure(settings))
	}
	address := scheme + "://" + net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))
	connection, err := nats.Connect(address, options...)
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	defer connection.Close()
	stream, err := connection.JetStream(nats.MaxWait(5 * time.Second))
	if err != nil {
		return err
	}
	word := make([]byte, 4)
	if _, err := rand.Read(word); err != nil {
		return err
	}
	name := prefix + hex.EncodeToString(word)
	made := nats.StreamConfig{Name: name, Subjects: []string{name}, MaxBytes: 64 << 10, Storage: nats.FileStorage}
	if _, err := stream.AddStream(&made); err != nil {
		return fmt.Errorf("make a stream: %w", err)
	}
	defer func() { _ = stream.DeleteStream(name) }()
	if _, err := stream.Publish(name, []byte(name)); err != nil {
		return fmt.Errorf("publish into a stream: %w", err)
	}
	reading, err := stream.SubscribeSync(name, nats.OrderedConsumer())
	if err != nil {
		return fmt.Errorf("read a stream: %w", err)
	}
	message, err := reading.NextMsg(5 * time.Second)
	if err != nil {
		return fmt.Errorf("read a stream: %w", err)
	}
	if string(message.Data) != name {
		return fmt.Errorf("a message that was published is read back as %.100q", message.Data)
	}
	if err := stream.DeleteStream(name); err != nil {
		return fmt.Errorf("delete a stream: %w", err)
	}
	if _, err := stream.StreamInfo(name); !errors.Is(err, nats.ErrStreamNotFound) {
		return fmt.Errorf("a stream that was deleted is still there: %w", err)
	}
	for info := range stream.Streams() {
		if strings.HasPrefix(info.Config.Name, prefix) && time.Since(info.Created) > abandoned {
			_ = stream.DeleteStream(info.Config.Name)
		}
	}
	if err := door.copyTo(ctx, io.Discard, "/accounts", nil); err != nil {
		return err
	}
	fmt.Println("a message was published into a stream, read and deleted with it, and accounts were listed")
	return nil
}
