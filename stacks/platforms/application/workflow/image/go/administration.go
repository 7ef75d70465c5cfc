package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
		done(w, d.remove(r.Context(), r.PathValue("name"), r.URL.Query().Get("owner")))
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

// remove deletes an account with all that it has, which may take several requests: it is locked before.
func (d *door) remove(ctx context.Context, name, owner string) error {
	item, ok := d.store.named(name)
	if !ok || item.owner != owner {
		return nil
	}
	if err := d.store.lock(ctx, name, owner); err != nil {
		return err
	}
	for {
		query := url.Values{"tenantId": {name}, "size": {"50"}}
		path := []string{api, "repository", "deployments"}
		got, err := d.engine.ask(ctx, nil, http.MethodGet, path, query, nil)
		if err != nil {
			return err
		}
		var page struct {
			Data []struct{ ID string } `json:"data"`
		}
		if err := json.Unmarshal(got.body, &page); err != nil || got.status != http.StatusOK {
			return fmt.Errorf("deployments of %s: %d %s", name, got.status, first(string(got.body), 300))
		}
		if len(page.Data) == 0 {
			return d.store.forget(ctx, name)
		}
		for _, item := range page.Data {
			got, err := d.engine.ask(ctx, nil, http.MethodDelete, append(slices.Clone(path), item.ID), url.Values{"cascade": {"true"}}, nil)
			if err != nil {
				return err
			}
			if got.status >= 300 && got.status != http.StatusNotFound {
				return fmt.Errorf("deployment %s: %d %s", item.ID, got.status, first(string(got.body), 300))
			}
		}
	}
}

// metrics are the engine's, and what is counted here. Names of owners have no character that would have to be escaped.
func (d *door) metrics(w http.ResponseWriter, r *http.Request) {
	lines := []string{}
	d.mutex.Lock()
	counts := map[[3]string]int64{}
	// A series that is not there until something happens cannot be told from one that nobody reads.
	for _, item := range append(d.store.list(), account{}) {
		tenant, app, _ := strings.Cut(item.app(), "/")
		for _, series := range []string{"instances", "completed"} {
			counts[[3]string{series, tenant, app}] = 0
		}
	}
	for key, count := range d.counters {
		counts[key] = count
	}
	d.mutex.Unlock()
	series := map[string]string{"instances": "wecity_workflow_instances_started_total", "completed": "wecity_workflow_tasks_completed_total"}
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
