package ship

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const accountFiles = "/var/run/secrets/kubernetes.io/serviceaccount/"

// cluster is the API server, with the token of the pod's service account.
//
// It speaks HTTP/1.1: each log that is followed has a connection of its own, and one that is read slowly holds up its
// own sender in the kubelet instead of filling memory here.
type cluster struct {
	url    string
	token  string // a file, which the kubelet renews
	client *http.Client
}

// What is read of a pod.
type pod struct {
	Metadata struct {
		Name            string            `json:"name"`
		Namespace       string            `json:"namespace"`
		UID             string            `json:"uid"`
		Labels          map[string]string `json:"labels"`
		ResourceVersion string            `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		Init      []containerStatus `json:"initContainerStatuses"`
		Main      []containerStatus `json:"containerStatuses"`
		Ephemeral []containerStatus `json:"ephemeralContainerStatuses"`
	} `json:"status"`
}

type containerStatus struct {
	Name         string `json:"name"`
	ContainerID  string `json:"containerID"`
	RestartCount int    `json:"restartCount"`
	State        state  `json:"state"`
	LastState    state  `json:"lastState"`
}

type state struct {
	Running    *run `json:"running"`
	Terminated *run `json:"terminated"`
}

type run struct {
	StartedAt time.Time `json:"startedAt"`
}

// current is the run of which ContainerID is; nil before the first one.
func (s containerStatus) current() *run {
	switch {
	case s.State.Running != nil:
		return s.State.Running
	case s.State.Terminated != nil:
		return s.State.Terminated
	}
	// It waits to be started again. Its log is that of the last run, as is its ID.
	return s.LastState.Terminated
}

// before is the run before the current one; nil if nothing is known of it.
func (s containerStatus) before() *run {
	if s.State.Running == nil && s.State.Terminated == nil {
		return nil
	}
	return s.LastState.Terminated
}

func (p pod) containers() []containerStatus {
	return append(append(append([]containerStatus{}, p.Status.Init...), p.Status.Main...), p.Status.Ephemeral...)
}

// errGone: there is nothing to be read, and will not be: the pod, the container or its earlier run is gone.
var errGone = errors.New("it is gone")

func inCluster() (*cluster, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
	}
	client, err := newClient(accountFiles+"ca.crt", 0)
	if err != nil {
		return nil, err
	}
	return &cluster{url: "https://" + net.JoinHostPort(host, port), token: accountFiles + "token", client: client}, nil
}

// newClient returns a client that knows servers by the certificates in a file. timeout is for a whole answer, 0 for none:
// the answer to a log that is followed begins with its first line, however late that is.
func newClient(authority string, timeout time.Duration) (*http.Client, error) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 8,
		ReadBufferSize:      16 * 1024,
		// Without it the client asks for HTTP/2.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	if authority != "" {
		text, err := os.ReadFile(authority)
		if err != nil {
			return nil, err
		}
		known := x509.NewCertPool()
		if !known.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate", authority)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: known, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: timeout}, nil
}

func (c *cluster) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(c.token)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	request.Header.Set("Accept", "application/json, */*")
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 2048))
	err = fmt.Errorf("%s is answered by %d: %s", path, response.StatusCode, strings.TrimSpace(string(text)))
	switch response.StatusCode {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusGone:
		return nil, errors.Join(errGone, err)
	}
	return nil, err
}

// logs opens a container's log, from the second of since on (if it is not zero). previous: of the run before.
func (c *cluster) logs(
	ctx context.Context, of *follower, since time.Time, follow, previous bool,
) (io.ReadCloser, error) {
	query := url.Values{"container": {of.container}, "timestamps": {"true"}}
	if !since.IsZero() {
		query.Set("sinceTime", since.UTC().Format(time.RFC3339))
	}
	if follow {
		query.Set("follow", "true")
	}
	if previous {
		query.Set("previous", "true")
	}
	return c.get(ctx, podsPath(of.namespace.Name)+"/"+url.PathEscape(of.pod.Metadata.Name)+"/log", query)
}

func podsPath(namespace string) string {
	return "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods"
}

// watch tells of the pods of this node in a namespace until the context ends: all of them, then each that changes.
//
// A namespace that is not there yet, or in which the shipper has no rights yet, is asked for again.
func (c *cluster) watch(ctx context.Context, settings settings, namespace string, tell func([]pod, bool, bool)) {
	told := ""
	for ctx.Err() == nil {
		err := c.watchOnce(ctx, settings.node, namespace, tell)
		text := ""
		if err != nil && ctx.Err() == nil {
			text = err.Error()
			if text != told {
				log.Printf("pods of namespace %s: %s", namespace, text)
			}
			sleep(ctx, settings.pause)
		}
		told = text
	}
}

func (c *cluster) watchOnce(
	ctx context.Context, node, namespace string, tell func([]pod, bool, bool),
) error {
	query := url.Values{"fieldSelector": {"spec.nodeName=" + node}}
	body, err := c.get(ctx, podsPath(namespace), query)
	if err != nil {
		return err
	}
	pods, version, err := decodeList(body)
	body.Close()
	if err != nil {
		return err
	}
	tell(pods, false, true)
	query.Set("watch", "true")
	query.Set("allowWatchBookmarks", "true")
	query.Set("timeoutSeconds", "300")
	for ctx.Err() == nil {
		query.Set("resourceVersion", version)
		body, err := c.get(ctx, podsPath(namespace), query)
		if err != nil {
			return err
		}
		version, err = events(body, version, tell)
		body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeList reads a list of pods one by one, and the version to go on from. A decoder holds what it decodes as a
// whole, and a pod may take a megabyte of which a few names are kept.
func decodeList(body io.Reader) ([]pod, string, error) {
	var metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	}
	var pods []pod
	decoder := json.NewDecoder(body)
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, "", errors.Join(errors.New("the answer is no list"), err)
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, "", err
		}
		switch key {
		case "metadata":
			err = decoder.Decode(&metadata)
		case "items":
			pods, err = decodePods(decoder)
		default:
			err = decoder.Decode(new(json.RawMessage))
		}
		if err != nil {
			return nil, "", err
		}
	}
	// An answer that is cut has no end.
	if _, err := decoder.Token(); err != nil {
		return nil, "", err
	}
	return pods, metadata.ResourceVersion, nil
}

func decodePods(decoder *json.Decoder) ([]pod, error) {
	start, err := decoder.Token()
	if err != nil || start == nil {
		return nil, err
	}
	if start != json.Delim('[') {
		return nil, errors.New("the items of the answer are no list")
	}
	var pods []pod
	for decoder.More() {
		var item pod
		if err := decoder.Decode(&item); err != nil {
			return nil, err
		}
		pods = append(pods, item)
	}
	_, err = decoder.Token()
	return pods, err
}

// events reads a watch to its end, which the API server sets, and returns the version to go on from.
func events(body io.Reader, version string, tell func([]pod, bool, bool)) (string, error) {
	decoder := json.NewDecoder(body)
	for {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		err := decoder.Decode(&event)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return version, nil
		}
		if err != nil {
			return version, err
		}
		if event.Type == "ERROR" {
			// The version is too old, mostly: all pods are listed again.
			return version, fmt.Errorf("the watch is ended: %.300s", event.Object)
		}
		var item pod
		if err := json.Unmarshal(event.Object, &item); err != nil {
			return version, err
		}
		version = item.Metadata.ResourceVersion
		if event.Type != "BOOKMARK" {
			tell([]pod{item}, event.Type == "DELETED", false)
		}
	}
}

func sleep(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}
