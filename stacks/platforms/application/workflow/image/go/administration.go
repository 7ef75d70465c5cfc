package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// administration makes, locks, deletes and lists accounts, for the administrator alone. What is counted is told to everybody
// who reaches the port, as the observer has no password here.
func (d *door) administration() http.Handler {
	mux := http.NewServeMux()
	done := func(w http.ResponseWriter, err error) {
		switch {
		case errors.Is(err, errOwner):
			tell(w, http.StatusConflict, err.Error())
		case err != nil:
			tell(w, http.StatusBadRequest, err.Error())
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}
	mux.HandleFunc("PUT /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		password, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		if err == nil {
			query := r.URL.Query()
			requests, _ := strconv.Atoi(query.Get("requests"))
			storage, _ := strconv.ParseInt(query.Get("storage"), 10, 64)
			item := account{name: r.PathValue("name"), owner: query.Get("owner"), requests: requests, storage: storage}
			err = d.store.put(r.Context(), item, string(password))
		}
		done(w, err)
	})
	mux.HandleFunc("POST /accounts/{name}/lock", func(w http.ResponseWriter, r *http.Request) {
		done(w, d.store.lock(r.Context(), r.PathValue("name"), r.URL.Query().Get("owner")))
	})
	mux.HandleFunc("DELETE /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		err := d.remove(r.Context(), r.PathValue("name"), r.URL.Query().Get("owner"))
		if errors.Is(err, errMore) {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		done(w, err)
	})
	mux.HandleFunc("GET /accounts", func(w http.ResponseWriter, r *http.Request) {
		if err := d.store.measure(r.Context()); err != nil {
			done(w, err)
			return
		}
		for _, item := range d.store.list() {
			state := "open -"
			if item.locked != 0 {
				state = fmt.Sprintf("locked %d", item.locked)
			}
			fmt.Fprintf(w, "account %s %s %d %s\n", item.name, item.owner, d.store.uses(item.name), state)
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.URL.Path == "/metrics" {
			d.metrics(w, r)
			return
		}
		if name, password, _ := r.BasicAuth(); name != administrator || !d.admin.fits(password) {
			tell(w, http.StatusUnauthorized, "the administrator alone")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// errMore is that a deletion has to be asked for once more.
var errMore = errors.New("there is more to delete")

// Of how long one request deletes at most.
const deleting = 30 * time.Second

// remove deletes an account with all that it has, one instance after the other: the engine reads what it deletes into
// memory. The account is locked before. It returns errMore if there is more than it deletes in its time.
func (d *door) remove(ctx context.Context, name, owner string) error {
	item, ok := d.store.named(name)
	if !ok || item.owner != owner {
		return nil
	}
	if err := d.store.lock(ctx, name, owner); err != nil {
		return err
	}
	began := time.Now()
	for {
		found, err := d.store.instances(ctx, name)
		if err != nil {
			return err
		}
		for id, ended := range found {
			if time.Since(began) > deleting {
				return errMore
			}
			if !ended {
				if err := d.drop(ctx, "runtime/process-instances/"+id, nil); err != nil {
					return err
				}
			}
			if err := d.drop(ctx, "history/historic-process-instances/"+id, nil); err != nil {
				return err
			}
		}
		if len(found) == 0 {
			break
		}
	}
	deployments, err := d.store.deployments(ctx, name)
	if err != nil {
		return err
	}
	for _, id := range deployments {
		if err := d.drop(ctx, "repository/deployments/"+id, url.Values{"cascade": {"true"}}); err != nil {
			return err
		}
	}
	return d.store.forget(ctx, name)
}

// drop deletes an object of the engine's, which may be gone.
func (d *door) drop(ctx context.Context, path string, query url.Values) error {
	got, err := d.engine.ask(ctx, nil, http.MethodDelete, append([]string{api}, strings.Split(path, "/")...), query, nil)
	if err == nil && got.status >= 300 && got.status != http.StatusNotFound {
		err = fmt.Errorf("%s is not deleted: %d %s", path, got.status, first(string(got.body), 300))
	}
	return err
}

// series are the counters, by the names that they have here.
var series = map[string]string{
	"requests":  "wecity_workflow_requests_total",
	"instances": "wecity_workflow_instances_started_total",
	"completed": "wecity_workflow_tasks_completed_total",
}

// metrics are the engine's, and what is counted here. Names of owners have no character that would have to be escaped.
func (d *door) metrics(w http.ResponseWriter, r *http.Request) {
	lines := []string{}
	d.mutex.Lock()
	counts := map[[3]string]int64{}
	// A series that is not there until something happens cannot be told from one that nobody reads.
	for _, item := range append(d.store.list(), account{}) {
		tenant, app, _ := strings.Cut(item.app(), "/")
		for _, name := range slices.Sorted(maps.Keys(series)) {
			counts[[3]string{name, tenant, app}] = 0
		}
	}
	for key, count := range d.counters {
		counts[key] = count
	}
	d.mutex.Unlock()
	for key, count := range counts {
		lines = append(lines, fmt.Sprintf("%s{tenant=%q,app=%q} %d\n", series[key[0]], key[1], key[2], count))
	}
	stored, limits := map[string]int64{}, map[string]int64{}
	for _, item := range d.store.list() {
		labels := fmt.Sprintf("{tenant=%q,app=%q}", item.tenant(), strings.TrimPrefix(item.app(), item.tenant()+"/"))
		stored[labels] += d.store.uses(item.name)
		if item.locked == 0 {
			limits[labels] += item.storage
		}
	}
	for labels, bytes := range stored {
		lines = append(lines, fmt.Sprintf("wecity_workflow_stored_bytes%s %d\n", labels, bytes))
		lines = append(lines, fmt.Sprintf("wecity_workflow_limit_bytes%s %d\n", labels, limits[labels]))
	}
	slices.Sort(lines)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	if got, err := d.engine.ask(r.Context(), nil, http.MethodGet, []string{"actuator", "prometheus"}, nil, nil); err == nil && got.status == http.StatusOK {
		_, _ = w.Write(got.body)
	}
	fmt.Fprint(w, strings.Join(lines, ""))
}
