package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// The names of the administrator and of the shippers. Accounts of apps have dots.
const (
	Admin   = "admin"
	Shipper = "shipper"
)

// InstanceHeader names the running server, in its answers and in what shippers insert.
const InstanceHeader = "Store-Instance"

// What a tenant may ask for: questions whose answers are made of the logs that a query selects.
var readable = map[string]bool{
	"/select/logsql/query":               true,
	"/select/logsql/tail":                true,
	"/select/logsql/hits":                true,
	"/select/logsql/facets":              true,
	"/select/logsql/stats_query":         true,
	"/select/logsql/stats_query_range":   true,
	"/select/logsql/field_names":         true,
	"/select/logsql/field_values":        true,
	"/select/logsql/stream_field_names":  true,
	"/select/logsql/stream_field_values": true,
	"/select/logsql/streams":             true,
	"/select/logsql/stream_ids":          true,
}

const (
	// A query is read into memory, in its address or in its body.
	queryBytes = 256 * 1024
	// What a shipper sends at a time, before it is unpacked.
	insertBytes = 8 * 1024 * 1024
)

// guard lets each request do what its account may, and nothing else reaches the server's own handlers.
type guard struct {
	admin, shipper string // SHA-256 of the passwords
	accounts       *accounts
	shippers       *shippers
	instance       string
	selects        http.Handler
	inserts        http.Handler
	status         func() any
	breaker        *breaker
	marks          marks

	mutex  sync.Mutex
	asking map[string]int64
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// A shipper that meets another instance of the server asks anew what is stored.
	w.Header().Set(InstanceHeader, g.instance)
	if r.URL.Path == "/health" {
		_, _ = io.WriteString(w, "OK")
		return
	}
	name, password, _ := r.BasicAuth()
	switch {
	case name == Admin && matches(g.admin, password):
		g.administrate(w, r)
	case name == Shipper && matches(g.shipper, password):
		g.ship(w, r)
	default:
		found, is := g.accounts.find(name, password)
		if !is {
			w.Header().Set("WWW-Authenticate", `Basic realm="logs"`)
			http.Error(w, "name and password of an account are needed", http.StatusUnauthorized)
			return
		}
		g.read(w, r, found)
	}
}

// read answers a tenant's question out of the tenant's own logs.
//
// The request is made anew: of the client's own it keeps the parameters, without those by which a filter would be
// given, and no header.
func (g *guard) read(w http.ResponseWriter, r *http.Request, who account) {
	if !readable[r.URL.Path] {
		http.Error(w, "this account only reads logs, below /select/logsql/", http.StatusForbidden)
		return
	}
	if left := g.breaker.left(who.Tenant); left > 0 {
		seconds := int(left.Seconds()) + 1
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		http.Error(w, fmt.Sprintf("the server has ended while it answered questions of %s, which may have needed more memory"+
			" than it has: they are taken again in %d s", who.Tenant, seconds), http.StatusServiceUnavailable)
		return
	}
	// One account does not keep the others from reading, nor fills the memory with what it asks.
	if !g.enter(who) {
		http.Error(w, "this account has as many requests as it may that are not answered yet", http.StatusTooManyRequests)
		return
	}
	defer g.leave(who)
	values, ok := parameters(w, r)
	if !ok {
		return
	}
	defer g.marks.set(who.Tenant)()
	values["extra_stream_filters"] = []string{streamFilter(who.Tenant)}
	values["extra_filters"] = []string{exactFilter(who.Tenant)}
	g.selects.ServeHTTP(w, remade(r, values))
}

// administrate serves the city: it reads everything, and opens and closes accounts. It inserts and deletes nothing.
func (g *guard) administrate(w http.ResponseWriter, r *http.Request) {
	switch {
	case readable[r.URL.Path]:
		if values, ok := parameters(w, r); ok {
			g.selects.ServeHTTP(w, remade(r, values))
		}
	case r.URL.Path == "/status" && r.Method == http.MethodGet:
		answer(w, g.status())
	case r.URL.Path == "/accounts" && r.Method == http.MethodGet:
		answer(w, g.accounts.list())
	case r.URL.Path == "/accounts" && r.Method == http.MethodPost:
		g.change(w, r)
	default:
		http.Error(w, "not found", http.StatusNotFound)
	}
}

func (g *guard) change(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Action string `json:"action"`
		account
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, queryBytes)).Decode(&wanted); err != nil {
		http.Error(w, "no account in JSON: "+err.Error(), http.StatusBadRequest)
		return
	}
	var err error
	switch wanted.Action {
	case "open":
		wanted.Locked = 0
		err = g.accounts.put(wanted.account)
	case "lock":
		err = g.accounts.lock(wanted.Name, wanted.Owner)
	case "delete":
		err = g.accounts.remove(wanted.Name, wanted.Owner)
	default:
		http.Error(w, "the action is open, lock or delete", http.StatusBadRequest)
		return
	}
	switch {
	case errors.Is(err, errOwner):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// ship takes lines, tells a shipper what is stored already, and hears that it is there.
func (g *guard) ship(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/insert/jsonline" && r.Method == http.MethodPost:
		if known := r.Header.Get(InstanceHeader); known != "" && known != g.instance {
			// Lines before these may be lost with the memory of the instance that the shipper knows.
			http.Error(w, "this is another instance of the store", http.StatusPreconditionFailed)
			return
		}
		body := http.MaxBytesReader(w, r.Body, insertBytes)
		made := remade(r, url.Values{"_stream_fields": {StreamFields}})
		made.Method, made.Body = http.MethodPost, body
		if encoding := r.Header.Get("Content-Encoding"); encoding != "" {
			made.Header.Set("Content-Encoding", encoding)
		}
		g.inserts.ServeHTTP(w, made)
	case r.URL.Path == "/select/logsql/query":
		if values, ok := parameters(w, r); ok {
			g.selects.ServeHTTP(w, remade(r, values))
		}
	case r.URL.Path == "/shippers" && r.Method == http.MethodPost:
		var report Report
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, queryBytes)).Decode(&report); err != nil {
			http.Error(w, "no report in JSON: "+err.Error(), http.StatusBadRequest)
			return
		}
		g.shippers.heard(report)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "shippers insert lines and ask for their own", http.StatusForbidden)
	}
}

func (g *guard) enter(who account) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.asking[who.Name] >= who.Requests {
		return false
	}
	g.asking[who.Name]++
	return true
}

func (g *guard) leave(who account) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.asking[who.Name]--; g.asking[who.Name] == 0 {
		delete(g.asking, who.Name)
	}
}

// parameters are those of the address and of a form in the body; it answers the request itself if there are none to be
// read.
func parameters(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		http.Error(w, "GET or POST is needed", http.StatusMethodNotAllowed)
		return nil, false
	}
	r.Body = http.MaxBytesReader(w, r.Body, queryBytes)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the parameters cannot be read: "+err.Error(), http.StatusBadRequest)
		return nil, false
	}
	return r.Form, true
}

// remade is a request for the server's handlers with these parameters and nothing else of the client's: no header with
// the server's own meaning of a tenant, and no second place in which the server would look for parameters.
func remade(r *http.Request, values url.Values) *http.Request {
	made := r.Clone(r.Context())
	made.Method = http.MethodGet
	made.Header = http.Header{}
	made.Body, made.ContentLength = http.NoBody, 0
	made.URL = &url.URL{Path: r.URL.Path, RawQuery: values.Encode()}
	// The server's log repeats the address, and a client chooses it.
	made.RequestURI = made.URL.RequestURI()
	made.Form, made.PostForm, made.MultipartForm = values, url.Values{}, nil
	return made
}

// Tenants' names have no quotes: `tenantForm`.
func streamFilter(tenant string) string { return `{tenant="` + tenant + `"}` }
func exactFilter(tenant string) string  { return `tenant:="` + tenant + `"` }

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
}

// StreamFields are the fields by which the server groups lines: those that are the same for all lines of a container.
var StreamFields = strings.Join([]string{
	"tenant", "platform", "app", "capability", "component", "namespace", "pod", "container",
}, ",")
