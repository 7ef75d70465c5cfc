package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	administrator = "admin"
	observer      = "observer"
	writing       = "/api/v1/write"
	// A query is no longer; answers are bounded by the server's own settings.
	longestQuery = 64 << 10
)

var (
	// What accounts may ask. The rest, such as deletion, exports and status pages, is the administrator's.
	reading = map[string]bool{
		"/api/v1/query":       true,
		"/api/v1/query_range": true,
		"/api/v1/series":      true,
		"/api/v1/labels":      true,
	}
	values = regexp.MustCompile(`^/api/v1/label/[a-zA-Z_][a-zA-Z0-9_]*/values$`)
	// What an account's query may say. Filters of its own would come beside the tenant's.
	arguments = map[string]bool{
		"query": true, "time": true, "start": true, "end": true, "step": true, "match[]": true, "match": true,
		"limit": true, "timeout": true, "nocache": true, "round_digits": true, "latency_offset": true,
	}
)

// door lets requests through to the server behind it.
type door struct {
	accounts *accounts
	target   *url.URL
	admin    digest
	observer digest
	counters counters
	breaker  *breaker
}

func (d *door) proxy(change func(*httputil.ProxyRequest)) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(d.target)
		r.Out.Header.Del("Authorization")
		if change != nil {
			change(r)
		}
	}}
}

func refuse(w http.ResponseWriter, status int, text string) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="metrics"`)
	}
	http.Error(w, text, status)
}

// queries answers everybody who has an account.
func (d *door) queries() http.Handler {
	all := d.proxy(nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			all.ServeHTTP(w, r)
			return
		}
		name, password, _ := r.BasicAuth()
		switch {
		case name == administrator && d.admin.fits(password):
			all.ServeHTTP(w, r)
			return
		case name == observer && d.observer != digest{} && d.observer.fits(password):
			if r.URL.Path != writing {
				refuse(w, http.StatusForbidden, "the observer writes, and does nothing else")
				return
			}
			d.write(w, r)
			return
		}
		found, ok := d.accounts.find(name, password)
		switch {
		case !ok:
			refuse(w, http.StatusUnauthorized, "an account and its password are needed")
		case reading[r.URL.Path] || values.MatchString(r.URL.Path):
			d.read(w, r, found)
		case r.URL.Path == writing && found.Tenant == "":
			d.write(w, r)
		default:
			refuse(w, http.StatusForbidden, "accounts may not do this: "+r.URL.Path)
		}
	})
}

func (d *door) write(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.RawQuery != "" {
		refuse(w, http.StatusBadRequest, "series are written by a POST without a query")
		return
	}
	d.proxy(nil).ServeHTTP(w, r)
}

// read hands the query on in a form of our own: what is not known is refused, and the tenant is in the address, where
// the server takes it from before anything else.
func (d *door) read(w http.ResponseWriter, r *http.Request, found account) {
	if left := d.breaker.left(found.Tenant); found.Tenant != "" && left > 0 {
		seconds := int(left.Seconds()) + 1
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf(
			"the server has ended while it answered queries of %s, which may have needed more memory than it has:"+
				" they are taken again in %d s", found.Tenant, seconds))
		return
	}
	// Before the query is read into memory.
	leave, ok := d.accounts.enter(found)
	if !ok {
		refuse(w, http.StatusTooManyRequests, fmt.Sprintf("%d queries of the account are running", found.Connections))
		return
	}
	defer leave()
	r.Body = http.MaxBytesReader(w, r.Body, longestQuery)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	form := url.Values{}
	for key, given := range r.Form {
		if !arguments[key] {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("queries of accounts have no argument %q", key))
			return
		}
		form[key] = given
	}
	body := form.Encode()
	if len(body) > longestQuery {
		refuse(w, http.StatusRequestEntityTooLarge, "the query is too long")
		return
	}
	done, ok := d.accounts.share(r.Context(), found)
	if !ok {
		refuse(w, http.StatusTooManyRequests, "as many queries of tenants are running as may")
		return
	}
	defer done()
	d.counters.add(found)
	began := time.Now()
	failed := func(err error) {
		if found.Tenant != "" && hasEnded(r.Context(), err, began) {
			d.breaker.strike(found.Tenant)
			log.Printf("the server has ended while it answered a query of %s: %v", found.Owner, err)
		}
	}
	proxy := d.proxy(func(p *httputil.ProxyRequest) {
		p.Out.Method = http.MethodPost
		p.Out.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		p.Out.Body = io.NopCloser(strings.NewReader(body))
		p.Out.ContentLength = int64(len(body))
		p.Out.URL.RawQuery = ""
		if found.Tenant != "" {
			p.Out.URL.RawQuery = url.Values{"extra_label": {"tenant=" + found.Tenant}}.Encode()
		}
	})
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		failed(err)
		refuse(w, http.StatusBadGateway, "the server does not answer")
	}
	proxy.ModifyResponse = func(answer *http.Response) error {
		answer.Body = watched{answer.Body, failed}
		return nil
	}
	proxy.ServeHTTP(w, r)
}

// administration makes, locks, deletes and lists accounts, for the administrator alone. What is counted is told to
// everybody who reaches the port, as the observer has no password here.
func (d *door) administration() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, err error) {
		switch {
		case errors.Is(err, errOwner):
			refuse(w, http.StatusConflict, err.Error())
		case err != nil:
			refuse(w, http.StatusBadRequest, err.Error())
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}
	mux.HandleFunc("PUT /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		password, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		if err == nil {
			query := r.URL.Query()
			connections, _ := strconv.Atoi(query.Get("connections"))
			item := account{
				Name:        r.PathValue("name"),
				Owner:       query.Get("owner"),
				Tenant:      query.Get("tenant"),
				Connections: connections,
			}
			err = d.accounts.put(item, string(password))
		}
		answer(w, err)
	})
	mux.HandleFunc("POST /accounts/{name}/lock", func(w http.ResponseWriter, r *http.Request) {
		answer(w, d.accounts.lock(r.PathValue("name"), r.URL.Query().Get("owner")))
	})
	mux.HandleFunc("DELETE /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, d.accounts.remove(r.PathValue("name"), r.URL.Query().Get("owner")))
	})
	mux.HandleFunc("GET /accounts", func(w http.ResponseWriter, r *http.Request) {
		for _, item := range d.accounts.list() {
			state := "open -"
			if item.Locked != 0 {
				state = fmt.Sprintf("locked %d", item.Locked)
			}
			fmt.Fprintf(w, "account %s %s 0 %s\n", item.Name, item.Owner, state)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/metrics" {
			d.counters.ServeHTTP(w, r)
			return
		}
		if name, password, _ := r.BasicAuth(); name != administrator || !d.admin.fits(password) {
			refuse(w, http.StatusUnauthorized, "the administrator alone")
			return
		}
		mux.ServeHTTP(w, r)
	})
}
