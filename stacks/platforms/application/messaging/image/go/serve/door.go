package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// door is the administrator's interface: it makes, locks, deletes, lists, copies and restores accounts. Whether the
// server works, and what is counted, is told to everybody who reaches the port, which no use opens.
func (b *broker) door(password string) http.Handler {
	known := sha256.Sum256([]byte(password))
	mux, whole := http.NewServeMux(), http.NewServeMux()
	mux.HandleFunc("PUT /accounts/{name}", b.putAccount)
	mux.HandleFunc("POST /accounts/{name}/lock", func(w http.ResponseWriter, r *http.Request) {
		answer(w, b.lock(r.PathValue("name"), r.URL.Query().Get("owner")))
	})
	mux.HandleFunc("DELETE /accounts/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, b.remove(r.Context(), r.PathValue("name"), r.URL.Query().Get("owner")))
	})
	mux.HandleFunc("GET /accounts", b.listAccounts)
	mux.HandleFunc("GET /accounts/{name}/streams", b.dumpAccount)
	mux.HandleFunc("PUT /accounts/{name}/streams", func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		err := b.restore(r.Context(), r.PathValue("name"), query.Get("owner"), r.Body, query.Get("replace") == "yes")
		answer(w, err)
	})
	whole.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if found := b.server.Healthz(&server.HealthzOptions{JSEnabledOnly: true}); found.Status != "ok" {
			http.Error(w, found.Error, http.StatusServiceUnavailable)
		}
	})
	whole.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { b.tell(w) })
	whole.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, word, _ := r.BasicAuth()
		given := sha256.Sum256([]byte(word))
		if name != administrator || subtle.ConstantTimeCompare(given[:], known[:]) != 1 {
			http.Error(w, "this is for the administrator alone", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
	return whole
}

func answer(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errOccupied), errors.Is(err, errOwner):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (b *broker) putAccount(w http.ResponseWriter, r *http.Request) {
	password, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	if err == nil && len(password) == 0 {
		err = errors.New("an account needs a password")
	}
	query := r.URL.Query()
	item := Account{Name: r.PathValue("name"), Owner: query.Get("owner")}
	for name, to := range map[string]*int64{
		"connections": &item.Connections, "storage": &item.Storage, "memory": &item.Memory,
	} {
		if err == nil {
			*to, err = strconv.ParseInt(query.Get(name), 10, 64)
		}
	}
	if err == nil {
		err = b.put(item, string(password))
	}
	answer(w, err)
}

// listAccounts writes a line for each account, as inventories of all capabilities do.
func (b *broker) listAccounts(w http.ResponseWriter, _ *http.Request) {
	b.mutex.Lock()
	known := b.accounts.list()
	b.mutex.Unlock()
	for _, item := range known {
		state := "open -"
		if item.Hash == "" {
			state = fmt.Sprintf("locked %d", item.Locked)
		}
		used := b.usage(item.Name)
		fmt.Fprintf(w, "account %s %s %d %s\n", item.Name, item.Owner, used.Store+used.Memory, state)
	}
}

// dumpAccount writes a copy. One that fails on the way is cut, without the line that ends it.
func (b *broker) dumpAccount(w http.ResponseWriter, r *http.Request) {
	b.mutex.Lock()
	item, is := b.accounts.find(r.PathValue("name"), r.URL.Query().Get("owner"))
	b.mutex.Unlock()
	if !is {
		http.Error(w, "there is no such account", http.StatusNotFound)
		return
	}
	if err := b.dump(r.Context(), item, w); err != nil {
		log.Printf("copy of %s: %v", item.Name, err)
		// The client sees that the answer was cut.
		panic(http.ErrAbortHandler)
	}
}
