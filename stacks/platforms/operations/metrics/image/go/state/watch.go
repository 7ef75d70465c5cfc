package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	again = 5 * time.Second
	// How often what containers use is asked for; the cluster's own source is no faster.
	pollEvery = 15 * time.Second
	// For how long what was known of a list counts when it cannot be read: while an API server starts anew, all alerts
	// would be told to be over.
	patience = time.Minute
	// After how long without a word a connection is asked whether it is there, and how long it may take to say so. All
	// watches share one, which may be gone without an end.
	idle, pong = 15 * time.Second, 15 * time.Second
)

// kind is a resource of the API.
type kind struct{ group, resource string }

var (
	namespaced = []kind{
		{"api/v1", "pods"}, {"api/v1", "resourcequotas"}, {"api/v1", "persistentvolumeclaims"},
		{"apis/apps/v1", "deployments"}, {"apis/apps/v1", "statefulsets"},
		{"apis/batch/v1", "jobs"}, {"apis/batch/v1", "cronjobs"}, {"api/v1", "services"},
	}
	nodes = kind{"api/v1", "nodes"}
	usage = kind{"apis/metrics.k8s.io/v1beta1", "pods"}
)

// store has the objects by resource, namespace and name, and the lists that were forgotten with what was in them.
type store struct {
	mutex     sync.Mutex
	objects   map[string]map[string]map[string]object
	forgotten map[listed]bool
}

type listed struct{ resource, namespace string }

func newStore() *store {
	return &store{objects: map[string]map[string]map[string]object{}, forgotten: map[listed]bool{}}
}

func (s *store) replace(of kind, namespace string, items []object) {
	found := make(map[string]object, len(items))
	for _, item := range items {
		found[item.Metadata.Name] = item
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	key := of.key()
	if s.objects[key] == nil {
		s.objects[key] = map[string]map[string]object{}
	}
	s.objects[key][namespace] = found
	delete(s.forgotten, listed{key, namespace})
}

// forget leaves nothing of a namespace, unlike one that is known to have no objects.
func (s *store) forget(of kind, namespace string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	key := of.key()
	// One that was empty is no loss: that is what is seen of a namespace that is deleted, with the right to read it.
	if len(s.objects[key][namespace]) != 0 {
		s.forgotten[listed{key, namespace}] = true
	}
	delete(s.objects[key], namespace)
}

// unread gives the lists that are forgotten, sorted. The caller holds the mutex.
func (s *store) unread() []listed {
	return slices.SortedFunc(maps.Keys(s.forgotten), func(one, other listed) int {
		return cmp.Or(cmp.Compare(one.resource, other.resource), cmp.Compare(one.namespace, other.namespace))
	})
}

func (s *store) change(of kind, namespace, event string, item object) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if event == "DELETED" {
		delete(s.objects[of.key()][namespace], item.Metadata.Name)
	} else {
		s.objects[of.key()][namespace][item.Metadata.Name] = item
	}
}

func (k kind) key() string {
	if k == usage {
		return "usage"
	}
	return k.resource
}

func (k kind) path(namespace string) string {
	if namespace == "" {
		return "/" + k.group + "/" + k.resource
	}
	return "/" + k.group + "/namespaces/" + namespace + "/" + k.resource
}

// api is the API server as the pod's service account.
type api struct {
	base    string
	account string
	client  *http.Client
	// Those of the constants, which a run of tests shortens.
	again, patience time.Duration
}

func inCluster(account string) (*api, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" {
		return nil, errors.New("KUBERNETES_SERVICE_HOST is not set: this is no pod of a cluster")
	}
	text, err := os.ReadFile(account + "/ca.crt")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New(account + "/ca.crt has no certificate")
	}
	client := &http.Client{Transport: newTransport(pool, idle, pong)}
	return &api{"https://" + net.JoinHostPort(host, port), account, client, again, patience}, nil
}

// newTransport returns one that knows servers by the certificates of a pool. A connection on which nothing comes for
// `idle`, and no answer to a ping within `pong`, is closed, with all that goes over it.
func newTransport(pool *x509.CertPool, idle, pong time.Duration) *http.Transport {
	return &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: idle, PingTimeout: pong},
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       time.Minute,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}
}

func (a *api) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	// It is renewed in place.
	token, err := os.ReadFile(a.account + "/token")
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	request.Header.Set("Accept", "application/json")
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		told, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		return nil, fmt.Errorf("%s: %s: %s", path, answer.Status, told)
	}
	return answer.Body, nil
}

func (a *api) list(ctx context.Context, of kind, namespace string) (list, error) {
	var found list
	next := ""
	for {
		query := url.Values{"limit": {"500"}}
		if next != "" {
			query.Set("continue", next)
		}
		body, err := a.get(ctx, of.path(namespace), query)
		if err != nil {
			return list{}, err
		}
		page, err := decodeList(body)
		body.Close()
		if err != nil {
			return list{}, err
		}
		found.Items = append(found.Items, page.Items...)
		found.Metadata = page.Metadata
		if next = page.Metadata.Continue; next == "" {
			return found, nil
		}
	}
}

// decodeList reads a list of the API object by object. A decoder holds what it decodes as a whole, and what is not
// read of an object, such as its annotations, may take a megabyte in each of hundreds.
func decodeList(body io.Reader) (list, error) {
	var found list
	decoder := json.NewDecoder(body)
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return list{}, errors.Join(errors.New("the answer is no list"), err)
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return list{}, err
		}
		switch key {
		case "metadata":
			err = decoder.Decode(&found.Metadata)
		case "items":
			found.Items, err = decodeItems(decoder)
		default:
			err = decoder.Decode(new(json.RawMessage))
		}
		if err != nil {
			return list{}, err
		}
	}
	// An answer that is cut has no end.
	if _, err := decoder.Token(); err != nil {
		return list{}, err
	}
	return found, nil
}

func decodeItems(decoder *json.Decoder) ([]object, error) {
	start, err := decoder.Token()
	if err != nil || start == nil {
		return nil, err
	}
	if start != json.Delim('[') {
		return nil, errors.New("the items of the answer are no list")
	}
	var items []object
	for decoder.More() {
		var item object
		if err := decoder.Decode(&item); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err = decoder.Token()
	return items, err
}

// follow keeps the objects of a kind in the store. A namespace that is not there yet, or may not be read yet, is asked
// for again; what was known of it is forgotten after a while, so that nothing old is told.
func (a *api) follow(ctx context.Context, known *store, of kind, namespace string) {
	told, since := "", time.Time{}
	for ctx.Err() == nil {
		found, err := a.list(ctx, of, namespace)
		if err == nil {
			told, since = "", time.Time{}
			known.replace(of, namespace, found.Items)
			err = a.watch(ctx, known, of, namespace, found.Metadata.ResourceVersion)
		} else {
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) >= a.patience {
				known.forget(of, namespace)
			}
		}
		if err != nil && ctx.Err() == nil {
			if text := err.Error(); text != told {
				log.Print(text)
				told = text
			}
			wait(ctx, a.again)
		}
	}
}

// watch takes over changes until the server ends the watch or tells an error: the caller lists again.
func (a *api) watch(ctx context.Context, known *store, of kind, namespace, version string) error {
	query := url.Values{"watch": {"1"}, "resourceVersion": {version}, "timeoutSeconds": {"300"}}
	body, err := a.get(ctx, of.path(namespace), query)
	if err != nil {
		return err
	}
	defer body.Close()
	decoder := json.NewDecoder(body)
	for {
		var event struct {
			Type   string
			Object object
		}
		switch err := decoder.Decode(&event); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case event.Type == "ERROR":
			return nil
		}
		known.change(of, namespace, event.Type, event.Object)
	}
}

// poll asks what the containers of a namespace use. Clusters without a source of that are asked less often.
func (a *api) poll(ctx context.Context, known *store, namespace string) {
	pause := pollEvery
	for ctx.Err() == nil {
		found, err := a.list(ctx, usage, namespace)
		if err != nil {
			known.replace(usage, namespace, nil)
			pause = min(pause*2, 5*time.Minute)
		} else {
			known.replace(usage, namespace, found.Items)
			pause = pollEvery
		}
		wait(ctx, pause)
	}
}

func wait(ctx context.Context, about time.Duration) {
	timer := time.NewTimer(about*3/4 + rand.N(about/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
