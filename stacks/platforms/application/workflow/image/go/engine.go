package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"time"
)

const mostAnswer = 8 << 20

// engine is Flowable's REST interface on the loopback interface, where nobody but this program reaches it.
type engine struct {
	base   string
	client *http.Client
}

// reply is what the engine has answered.
type reply struct {
	status int
	body   []byte
}

func openEngine(port int) *engine {
	return &engine{
		base:   fmt.Sprintf("http://127.0.0.1:%d", port),
		client: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 32}},
	}
}

// ask sends a request that this program has made: `parts` of the path are escaped. The engine makes addresses in its
// answers of the host by which it was asked: that of `from`, if there is one.
func (e *engine) ask(ctx context.Context, from *http.Request, method string, parts []string, query url.Values, body any) (reply, error) {
	address := e.base
	for _, part := range parts {
		address += "/" + url.PathEscape(part)
	}
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var content io.Reader
	kind := ""
	switch body := body.(type) {
	case nil:
	case *upload:
		content, kind = body.encode()
	default:
		text, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		content, kind = bytes.NewReader(text), "application/json"
	}
	request, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return reply{}, err
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	if from != nil {
		request.Host = from.Host
		if from.TLS != nil {
			request.Header.Set("X-Forwarded-Proto", "https")
			// With the protocol alone, the engine takes its usual port for the one that was asked.
			if _, port, err := net.SplitHostPort(from.Host); err == nil {
				request.Header.Set("X-Forwarded-Port", port)
			}
		}
	}
	answer, err := e.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer+1))
	if err == nil && len(text) > mostAnswer {
		err = refused(http.StatusBadRequest, "the answer has more than %d bytes: ask for a smaller page", mostAnswer)
	}
	return reply{answer.StatusCode, text}, err
}

// upload is a file with a definition.
type upload struct {
	name string
	text []byte
}

func (u *upload) encode() (io.Reader, string) {
	var out bytes.Buffer
	form := multipart.NewWriter(&out)
	// Nothing fails in memory.
	part, _ := form.CreateFormFile("file", u.name)
	_, _ = part.Write(u.text)
	_ = form.Close()
	return &out, form.FormDataContentType()
}
