package main

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// A query that fails sooner has met a connection that was closed before.
const soonest = 20 * time.Millisecond

// hasEnded is whether an error of a query that began then means that the server has ended: neither has the client gone,
// nor was the server away before.
func hasEnded(ctx context.Context, err error, began time.Time) bool {
	var operation *net.OpError
	isAway := errors.As(err, &operation) && operation.Op == "dial"
	return ctx.Err() == nil && !isAway && time.Since(began) >= soonest
}

// watched tells of the error with which an answer is cut off.
type watched struct {
	io.ReadCloser
	cut func(error)
}

func (w watched) Read(buffer []byte) (int, error) {
	count, err := w.ReadCloser.Read(buffer)
	if err != nil && err != io.EOF {
		w.cut(err)
	}
	return count, err
}
