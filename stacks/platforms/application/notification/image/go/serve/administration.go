package serve

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// administration makes, locks, deletes and lists accounts. Metrics are told to everybody who reaches
// the port, which no use opens.
func (d *door) administration() http.Handler {
	mux, whole := http.NewServeMux(), http.NewServeMux()
	mux.HandleFunc("PUT /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		password, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		atOnce, storage, query := 0, int64(0), r.URL.Query()
		if err == nil {
			atOnce, err = strconv.Atoi(query.Get("connections"))
		}
		if err == nil {
			storage, err = strconv.ParseInt(query.Get("storage"), 10, 64)
		}
		if err == nil {
			called := r.PathValue("name")
			err = d.store.putAccount(r.Context(), called, query.Get("owner"), string(password), atOnce, storage)
		}
		changed(w, err)
	})
	mux.HandleFunc("POST /accounts/{name}/lock", func(w http.ResponseWriter, r *http.Request) {
		changed(w, d.store.lockAccount(r.Context(), r.PathValue("name"), r.URL.Query().Get("owner")))
	})
	mux.HandleFunc("DELETE /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		changed(w, d.store.deleteAccount(r.Context(), r.PathValue("name"), r.URL.Query().Get("owner")))
	})
	mux.HandleFunc("GET /accounts", d.listAccounts)
	whole.HandleFunc("GET /health", d.health)
	whole.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		text, err := d.metrics(r.Context())
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, text)
	})
	whole.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		called, password, _ := r.BasicAuth()
		if called != administrator || !matches(d.admin, password) {
			refuse(w, http.StatusUnauthorized, "", "this is for the administrator alone")
			return
		}
		mux.ServeHTTP(w, r)
	})
	return whole
}

func changed(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, errOwner):
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// listAccounts writes a line for each account, as inventories of all capabilities do.
func (d *door) listAccounts(w http.ResponseWriter, r *http.Request) {
	known, err := d.store.accounts(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	var lines []string
	for _, item := range known {
		state := "open -"
		if item.Locked != 0 {
			state = fmt.Sprintf("locked %d", item.Locked)
		}
		lines = append(lines, fmt.Sprintf("account %s %s %d %s\n", item.Name, item.Owner, item.Used, state))
	}
	fmt.Fprint(w, strings.Join(lines, ""))
}
