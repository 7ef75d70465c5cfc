package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/auth"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"
)

const (
	administrator, nodes = "admin", "node"
	// The first part of the names of the city's own repositories.
	city = "city"
	// Bytes of the volume that nobody fills: accounts and manifests still need some.
	reserve = 64 << 20
)

// A door lets requests to the registry in, as far as the rights of who asks reach.
type door struct {
	accounts    *accounts
	admin, node digest
	registry    http.Handler
	kept        *kept
	counters    counters
	// Held for reading by all that writes, and for writing by what collects garbage.
	pushing sync.RWMutex
	// How long a push may send nothing.
	patience time.Duration
}

type asking struct{}

// A question is a request with who asks it. The registry's answer is replaced where the question has a refusal.
type question struct {
	name    string
	account account
	refusal string
}

func openDoor(ctx context.Context, directory string, known *accounts, admin, node string) (*door, error) {
	// Otherwise every request is a line, with the whole address of an upload.
	logrus.SetLevel(logrus.ErrorLevel)
	store, err := openKept(ctx, directory)
	if err != nil {
		return nil, err
	}
	// What was there before may have garbage.
	door := &door{patience: time.Minute, accounts: known, counters: counters{garbage: true, pushed: time.Now()}, admin: digestOf(admin), node: digestOf(node), kept: store}
	// The registry asks for the rights of each request, and of each repository that it names.
	if err := auth.Register("door", func(map[string]any) (auth.AccessController, error) { return rights{}, nil }); err != nil &&
		!strings.Contains(err.Error(), "already") {
		return nil, err
	}
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem": {"rootdirectory": directory},
			"delete":     {"enabled": true},
			"maintenance": {"uploadpurging": map[any]any{
				"enabled": true, "age": "24h", "interval": "24h", "dryrun": false,
			}},
		},
		Auth: configuration.Auth{"door": {}},
	}
	config.HTTP.Secret = uploadKey(admin)
	config.HTTP.RelativeURLs = true
	config.Catalog.MaxEntries = 1000
	door.registry = handlers.NewApp(ctx, config)
	return door, nil
}

// find returns who asks. The name is empty if the password is not that of the account.
func (d *door) find(r *http.Request) question {
	name, password, ok := r.BasicAuth()
	if !ok {
		return question{}
	}
	switch name {
	case administrator:
		if d.admin.fits(password) {
			return question{name: name}
		}
	case nodes:
		if d.node.fits(password) {
			return question{name: name}
		}
	default:
		if found, ok := d.accounts.find(name, password); ok {
			return question{name: name, account: found}
		}
	}
	return question{}
}

// ServeHTTP answers pulls and pushes.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		w.WriteHeader(http.StatusOK)
		return
	}
	if r.URL.Path != "/v2" && !strings.HasPrefix(r.URL.Path, "/v2/") {
		refuse(w, http.StatusNotFound, "UNSUPPORTED", "the registry is under /v2/")
		return
	}
	asked := d.find(r)
	if asked.name == "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry of the city"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "sign in with an account of the registry")
		return
	}
	answer := &answer{ResponseWriter: w, question: &asked}
	r = r.WithContext(context.WithValue(r.Context(), asking{}, &asked))
	r.URL = asked.withoutMount(r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if r.Body != nil {
			r.Body = d.patiently(w, r.Body)
		}
		d.pushing.RLock()
		defer d.pushing.RUnlock()
		if refusal := d.full(&asked, r); refusal != "" {
			refuse(w, http.StatusForbidden, "DENIED", refusal)
			return
		}
	}
	d.registry.ServeHTTP(answer, r)
	d.counters.add(&asked, r, answer.status)
}

// withoutMount is the address of a request. One that begins a push with a layer of a repository that who asks may not
// pull from begins an upload of that layer, as the distribution specification has it: clients name where they have found
// a layer before, with whatever account, and many give up a push that is refused.
func (q *question) withoutMount(r *http.Request) *url.URL {
	query := r.URL.Query()
	from := auth.Access{Resource: auth.Resource{Type: "repository", Name: query.Get("from")}, Action: "pull"}
	if r.Method != http.MethodPost || from.Name == "" || q.may(from) {
		return r.URL
	}
	query.Del("from")
	query.Del("mount")
	made := *r.URL
	made.RawQuery = query.Encode()
	return &made
}

// patiently ends a body of which nothing has come for too long. What the registry does afterwards takes its time.
func (d *door) patiently(w http.ResponseWriter, content io.ReadCloser) io.ReadCloser {
	connection := http.NewResponseController(w)
	// Nothing but tests has connections without deadlines.
	return &body{
		ReadCloser: content,
		before:     func() { _ = connection.SetReadDeadline(time.Now().Add(d.patience)) },
		ended:      func() { _ = connection.SetReadDeadline(time.Time{}) },
	}
}

// full says why there is no room for what a request brings; and has the rest of its body counted.
func (d *door) full(asked *question, r *http.Request) string {
	if r.Method == http.MethodDelete {
		return ""
	}
	// Nothing is begun that does not fit. Bodies of unknown length, and several that fit one by one, end where they
	// pass what there is.
	tenant := asked.account.Tenant
	if refusal := d.refusal(tenant, max(r.ContentLength, 0)); refusal != "" {
		return refusal
	}
	if r.Body != nil {
		r.Body = &body{ReadCloser: r.Body, after: func(count int) error {
			if tenant != "" {
				d.kept.took(tenant, int64(count))
			}
			if refusal := d.refusal(tenant, 0); refusal != "" {
				asked.refusal = refusal
				return errors.New(refusal)
			}
			return nil
		}}
	}
	return ""
}

// refusal says why so many bytes more do not fit: on the volume, or into what the repositories of a tenant may take.
func (d *door) refusal(tenant string, more int64) string {
	if d.kept.free() < reserve+more {
		return "the volume of the registry is full"
	}
	if tenant == "" {
		return ""
	}
	limit := d.accounts.limit(tenant)
	used, err := d.kept.used(tenant)
	if err != nil {
		return "what the repositories take cannot be counted"
	}
	if used+more <= limit {
		return ""
	}
	return fmt.Sprintf("the repositories of %s take %d bytes of %d, and %d more do not fit", tenant, used, limit, more)
}

// A body tells of what is read of it: before, after, and when there is no more.
type body struct {
	io.ReadCloser
	before, ended func()
	after         func(count int) error
}

func (b *body) Read(buffer []byte) (int, error) {
	if b.before != nil {
		b.before()
	}
	count, err := b.ReadCloser.Read(buffer)
	if err != nil && b.ended != nil {
		b.ended()
	}
	if b.after != nil {
		if told := b.after(count); told != nil {
			return 0, told
		}
	}
	return count, err
}

// An answer is the registry's, or the refusal of the question.
type answer struct {
	http.ResponseWriter
	question *question
	status   int
	replaced bool
}

func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	if status >= 400 && a.question.refusal != "" {
		a.status, a.replaced = http.StatusForbidden, true
		a.Header().Del("WWW-Authenticate")
		a.Header().Del("Content-Length")
		refuse(a.ResponseWriter, a.status, "DENIED", a.question.refusal)
		return
	}
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(text []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.replaced {
		return len(text), nil
	}
	return a.ResponseWriter.Write(text)
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// refuse answers with an error as the distribution specification has it.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

// rights are asked by the registry before it does anything, with the repositories that a request names.
type rights struct{}

type refused string

func (r refused) Error() string { return string(r) }

// SetHeaders makes refused a challenge. The answer of the door replaces that of the registry.
func (refused) SetHeaders(*http.Request, http.ResponseWriter) {}

func (rights) Authorized(r *http.Request, wanted ...auth.Access) (*auth.Grant, error) {
	asked, _ := r.Context().Value(asking{}).(*question)
	if asked == nil || asked.name == "" {
		return nil, refused("nobody is signed in")
	}
	grant := &auth.Grant{User: auth.UserInfo{Name: asked.name}}
	for _, item := range wanted {
		if !asked.may(item) {
			asked.refusal = fmt.Sprintf("%s may not %s %s %s", asked.name, item.Action, item.Type, item.Name)
			return nil, refused(asked.refusal)
		}
		grant.Resources = append(grant.Resources, item.Resource)
	}
	return grant, nil
}

// may is whether who asks has a right: the administrator all, nodes to pull what is the city's own, and an account all
// in the repositories of its tenant.
func (q *question) may(wanted auth.Access) bool {
	if q.name == administrator {
		return true
	}
	if wanted.Type != "repository" {
		return false
	}
	first, _, nested := strings.Cut(wanted.Name, "/")
	if q.name == nodes {
		return wanted.Action == "pull" && nested && first == city
	}
	return nested && first == q.account.Tenant && (wanted.Action == "pull" || wanted.Action == "push" ||
		wanted.Action == "delete")
}

// administration makes, locks, deletes and lists accounts, and collects garbage, for the administrator alone. What is
// counted is told to everybody who reaches the port, as the observer has no password here.
func (d *door) administration() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, err error) {
		switch {
		case errors.Is(err, errOwner), errors.Is(err, errPushing), errors.Is(err, errCopying):
			refuse(w, http.StatusConflict, "DENIED", err.Error())
		case err != nil:
			refuse(w, http.StatusBadRequest, "DENIED", err.Error())
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}
	mux.HandleFunc("PUT /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		password, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		if err == nil {
			query := r.URL.Query()
			storage, _ := strconv.ParseInt(query.Get("storage"), 10, 64)
			item := account{
				Name:    r.PathValue("name"),
				Owner:   query.Get("owner"),
				Tenant:  query.Get("tenant"),
				Storage: storage,
			}
			err = d.accounts.put(item, string(password))
		}
		answer(w, err)
	})
	mux.HandleFunc("POST /accounts/{name}/lock", func(w http.ResponseWriter, r *http.Request) {
		answer(w, d.accounts.lock(r.PathValue("name"), r.URL.Query().Get("owner")))
	})
	mux.HandleFunc("DELETE /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		tenant, err := d.accounts.remove(r.PathValue("name"), r.URL.Query().Get("owner"))
		if err == nil && tenant != "" {
			err = d.kept.forget(tenant)
			if err == nil {
				d.counters.deleted()
			}
		}
		answer(w, err)
	})
	mux.HandleFunc("GET /accounts", func(w http.ResponseWriter, r *http.Request) {
		counted := map[string]bool{}
		for _, item := range d.accounts.list() {
			state := "open -"
			if item.Locked != 0 {
				state = fmt.Sprintf("locked %d", item.Locked)
			}
			// Repositories are the tenant's: the first of its accounts is listed with what they take.
			var used int64
			if !counted[item.Tenant] {
				used, _ = d.kept.used(item.Tenant)
				counted[item.Tenant] = true
			}
			fmt.Fprintf(w, "account %s %s %d %s\n", item.Name, item.Owner, used, state)
		}
	})
	d.copying(mux)
	mux.HandleFunc("POST /collect", func(w http.ResponseWriter, r *http.Request) {
		freed, err := d.collect(r.Context())
		if err != nil {
			answer(w, err)
			return
		}
		fmt.Fprintf(w, "freed %d\n", freed)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/metrics" {
			d.tell(w)
			return
		}
		if name, password, _ := r.BasicAuth(); name != administrator || !d.admin.fits(password) {
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "the administrator alone")
			return
		}
		mux.ServeHTTP(w, r)
	})
}
