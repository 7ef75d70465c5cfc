package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	administrator = "admin"
	api           = "process-api"
	// Bytes of a request, and of one with a definition.
	mostBody, mostDefinition = 256 << 10, 1 << 20
	// Of one account; and of the instances that go with a deployment.
	mostDefinitions, mostInstances, mostDeleted = 200, 20000, 100
	// Of one instance, which the engine reads whole: its variables, where it is at the same time, and where it has been.
	mostOfInstance, mostPlaces, mostSteps = 500, 1000, 5000
	// Entries of a page, and how many bytes a request is counted for beside its own: the rows that it makes.
	mostEntries, rows = 200, 4096
	// Requests of the administrator at a time.
	administratorRequests = 8
)

var ids = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_:-]{0,127}$`)

// door lets requests to the engine in, as far as the rights of who asks reach. It makes each request to the engine itself,
// of parts that it has read: what it does not know never gets there.
type door struct {
	store  *store
	engine *engine
	admin  digest

	mutex    sync.Mutex
	running  map[string]int
	counters map[[3]string]int64
	ready    check
	alive    check
}

// asked is a request with who asks.
type asked struct {
	*http.Request
	account account
}

type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func refused(status int, format string, values ...any) error {
	return refusal{status, fmt.Sprintf(format, values...)}
}

var errGone = refusal{http.StatusNotFound, "it is not there"}

type handler func(a *asked) (reply, error)

// public is what accounts reach: a part of the engine's own interface, and tasks of others.
func (d *door) public() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range d.routes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { d.serve(w, r, handle) })
	}
	mux.HandleFunc("GET /health", d.health)
	mux.HandleFunc("GET /live", d.live)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.serve(w, r, func(*asked) (reply, error) {
			return reply{}, refused(http.StatusForbidden, "%s %s is not open to apps: the page on approvals lists what is", r.Method, r.URL.Path)
		})
	})
	return mux
}

func (d *door) find(r *http.Request) (account, bool) {
	name, password, _ := r.BasicAuth()
	if name == administrator {
		return account{name: administrator, owner: "city/city/probe", requests: administratorRequests, storage: 1 << 62}, d.admin.fits(password)
	}
	return d.store.find(name, password)
}

func (d *door) serve(w http.ResponseWriter, r *http.Request, handle handler) {
	found, ok := d.find(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="workflow"`)
		tell(w, http.StatusUnauthorized, "sign in with the username and the password of the binding")
		return
	}
	if !d.enter(found) {
		w.Header().Set("Retry-After", "1")
		tell(w, http.StatusTooManyRequests, fmt.Sprintf("%d requests are running, and no more are allowed at a time", found.requests))
		return
	}
	defer d.leave(found)
	d.count("requests", found)
	r.Body = http.MaxBytesReader(w, r.Body, mostDefinition)
	got, err := handle(&asked{r, found})
	if err != nil {
		if known, ok := err.(refusal); ok {
			tell(w, known.status, known.text)
			return
		}
		if r.Context().Err() == nil {
			log.Print(err)
		}
		tell(w, http.StatusBadGateway, "the engine does not answer, or does not reach its database")
		return
	}
	if got.status >= 500 {
		// What went wrong is told, without what the engine says about itself after it.
		var said struct{ Exception string }
		_ = json.Unmarshal(got.body, &said)
		// What fails in the database begins with an empty line.
		if first(said.Exception, 1) == "" {
			tell(w, http.StatusServiceUnavailable, "the engine cannot do it now")
			return
		}
		tell(w, http.StatusUnprocessableEntity, "the engine refuses it: "+first(strings.TrimPrefix(said.Exception, "Errors while parsing:\n"), 300))
		return
	}
	if len(got.body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(got.status)
	_, _ = w.Write(got.body)
}

func first(text string, most int) string {
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}

func tell(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func (d *door) enter(found account) bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.running[found.name] >= found.requests {
		return false
	}
	d.running[found.name]++
	return true
}

func (d *door) leave(found account) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.running[found.name]--
}

func (d *door) count(series string, found account) {
	if found.name == administrator {
		return
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	_, app, _ := strings.Cut(found.app(), "/")
	d.counters[[3]string{series, found.tenant(), app}]++
}

// check remembers for a second what was found out about the engine, so that everybody may ask for it.
type check struct {
	mutex sync.Mutex
	at    time.Time
	ok    bool
}

// tell answers whether `path` of the engine is as `fits` wants it.
func (c *check) tell(w http.ResponseWriter, engine *engine, path []string, fits func(reply, error) bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if time.Since(c.at) > time.Second {
		// Not for as long as who asks for it waits: others wait for the same.
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		got, err := engine.ask(ctx, nil, http.MethodGet, path, nil, nil)
		c.at, c.ok = time.Now(), fits(got, err)
	}
	if !c.ok {
		tell(w, http.StatusServiceUnavailable, "the engine does not answer, or does not reach its database")
		return
	}
	w.WriteHeader(http.StatusOK)
}

// health tells whether the engine reaches its database.
func (d *door) health(w http.ResponseWriter, _ *http.Request) {
	d.ready.tell(w, d.engine, []string{"actuator", "health"}, func(got reply, err error) bool {
		return err == nil && got.status == http.StatusOK
	})
}

// live tells whether the engine answers at all, whatever its database does.
func (d *door) live(w http.ResponseWriter, _ *http.Request) {
	d.alive.tell(w, d.engine, []string{"actuator"}, func(_ reply, err error) bool { return err == nil })
}

// ask sends a request to the engine's interface; slashes in `path` part it.
func (d *door) ask(a *asked, method, path string, query url.Values, body any) (reply, error) {
	return d.engine.ask(a.Context(), a.Request, method, append([]string{api}, strings.Split(path, "/")...), query, body)
}

// own returns an object of the account's own as the engine tells of it. One of another account is not there.
func (d *door) own(a *asked, path, id string) (map[string]any, error) {
	if !ids.MatchString(id) {
		return nil, errGone
	}
	got, err := d.ask(a, http.MethodGet, path+"/"+id, nil, nil)
	if err != nil {
		return nil, err
	}
	var found map[string]any
	if got.status != http.StatusOK || json.Unmarshal(got.body, &found) != nil || found["tenantId"] != a.account.name {
		return nil, errGone
	}
	return found, nil
}

// selected are the parts of the query that a list takes, with the account as the tenant.
func (a *asked) selected(known ...string) (url.Values, error) {
	made := url.Values{"tenantId": {a.account.name}}
	for name, values := range a.URL.Query() {
		if !contains(known, name) && !contains([]string{"start", "size", "sort", "order"}, name) {
			return nil, refused(http.StatusBadRequest, "the query may not have %q", name)
		}
		if len(values) != 1 || len(values[0]) > 256 {
			return nil, refused(http.StatusBadRequest, "%q is there more than once, or is too long", name)
		}
		if err := paged(name, values[0]); err != nil {
			return nil, err
		}
		made.Set(name, values[0])
	}
	return made, nil
}

// paged refuses a page that is none, or larger than a page may be.
func paged(name, value string) error {
	if name != "start" && name != "size" {
		return nil
	}
	if count, err := strconv.Atoi(value); err != nil || count < 0 || name == "size" && count > mostEntries {
		return refused(http.StatusBadRequest, "%s=%s: a page begins at 0 or later, and has at most %d entries", name, first(value, 20), mostEntries)
	}
	return nil
}

// read decodes a body of JSON; fields that are not known are refused.
func (a *asked) read(into any) error {
	text, err := io.ReadAll(io.LimitReader(a.Body, mostBody+1))
	if err != nil || len(text) > mostBody {
		return refused(http.StatusRequestEntityTooLarge, "the request has more than %d bytes", mostBody)
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	// A number that somebody fills in keeps all its digits.
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return refused(http.StatusBadRequest, "the body: %v", err)
	}
	return nil
}

// room refuses what makes more where the account has as much as it may.
func (d *door) room(a *asked) error {
	if a.ContentLength < 0 {
		return refused(http.StatusLengthRequired, "the request has to have a Content-Length")
	}
	// Variables are stored with the instance and with its history.
	wanted := 2 * a.ContentLength
	if used := d.store.uses(a.account.name); used+wanted > a.account.storage {
		return refused(http.StatusInsufficientStorage, "what the account has takes %d bytes of %d: delete instances that have ended", used, a.account.storage)
	}
	d.store.took(a.account.name, wanted+rows)
	return nil
}

// spare refuses to complete a task whose instance would get more variables than one may have, or is too large already.
func (d *door) spare(a *asked, task string, more int) error {
	found, err := d.store.size(a.Context(), task)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errGone
	case err != nil:
		return err
	case found.variables+more > mostOfInstance:
		return refused(http.StatusInsufficientStorage, "the instance has %d variables of %d, and %d more do not fit", found.variables, mostOfInstance, more)
	case found.places > mostPlaces || found.steps > mostSteps:
		return refused(http.StatusInsufficientStorage, "the instance is at %d places of %d, and has taken %d steps of %d: start another one", found.places, mostPlaces, found.steps, mostSteps)
	}
	return nil
}
