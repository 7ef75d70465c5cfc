package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	administrator = "admin"
	// The most that a request has.
	requestMost = 256 << 10
)

// A door lets apps in, each to its own templates and messages.
type door struct {
	store    *store
	sender   *sender
	counters *counters
	// The channels of the city with their servers, or `sink`.
	shown map[string]string
	// The digest of the administrator's password.
	admin string
	turns *turns
}

type handler func(w http.ResponseWriter, r *http.Request, who *account)

var templateName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// public is what apps reach.
func (d *door) public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", d.health)
	for pattern, handle := range map[string]handler{
		"GET /me":                  d.me,
		"GET /templates":           d.listTemplates,
		"GET /templates/{name}":    d.showTemplate,
		"PUT /templates/{name}":    d.putTemplate,
		"DELETE /templates/{name}": d.removeTemplate,
		"POST /messages":           d.accept,
		"GET /messages/{id}":       d.showMessage,
	} {
		mux.HandleFunc(pattern, d.signedIn(handle))
	}
	mux.HandleFunc("GET /status", d.status)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { notFound(w) })
	return mux
}

func (d *door) signedIn(next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		called, password, _ := r.BasicAuth()
		if !utf8.ValidString(called) || !nameForm.MatchString(called) {
			called = "nobody"
		}
		// Whoever is not signed in yet waits for those at the same address alone, whatever name it says.
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		done := d.turns.take(r.Context(), "address "+client)
		if done == nil {
			return
		}
		who, err := d.store.signIn(r.Context(), called, password)
		done()
		if err != nil {
			fail(w, err)
			return
		}
		if who == nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="notification of the city"`)
			refuse(w, http.StatusUnauthorized, "", "sign in with the account of the app's binding")
			return
		}
		if done = d.turns.take(r.Context(), "account "+who.Name); done == nil {
			return
		}
		defer done()
		next(w, r, who)
	}
}

func (d *door) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 4*time.Second)
	defer cancel()
	if err := d.store.pool.Ping(ctx); err != nil {
		refuse(w, http.StatusServiceUnavailable, "", "the database does not answer")
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// status is for the administrator, who asks on the port of apps as the command line does of every server.
func (d *door) status(w http.ResponseWriter, r *http.Request) {
	if called, password, _ := r.BasicAuth(); called != administrator || !matches(d.admin, password) {
		refuse(w, http.StatusUnauthorized, "", "this is for the administrator alone")
		return
	}
	waits, err := d.store.waiting(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	troubles, err := d.store.failing(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	count := int64(0)
	for _, item := range waits {
		count += item.Count
	}
	answer(w, http.StatusOK, map[string]any{
		"channels": d.shown, "queued": count, "failing": append([]failing{}, troubles...),
	})
}

// me tells who asks, and which channels there are.
func (d *door) me(w http.ResponseWriter, _ *http.Request, who *account) {
	channels := map[string]string{}
	for name, server := range d.shown {
		channels[name] = "sends"
		if server == "sink" {
			channels[name] = server
		}
	}
	answer(w, http.StatusOK, map[string]any{
		"account": who.Name, "tenant": who.Tenant, "app": who.App, "channels": channels, "used": who.Used,
		"storage": who.Storage, "minute": who.AtOnce * minuteEach,
	})
}

func (d *door) listTemplates(w http.ResponseWriter, r *http.Request, who *account) {
	found, err := d.store.templates(r.Context(), who)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"templates": append([]string{}, found...)})
}

// template returns the template of a name if the app has it; otherwise it has answered.
func (d *door) template(w http.ResponseWriter, r *http.Request, who *account, called string) *template {
	if !templateName.MatchString(called) {
		notFound(w)
		return nil
	}
	found, err := d.store.template(r.Context(), who, called)
	if err != nil {
		fail(w, err)
	} else if found == nil {
		notFound(w)
	}
	return found
}

func (d *door) showTemplate(w http.ResponseWriter, r *http.Request, who *account) {
	if found := d.template(w, r, who, r.PathValue("name")); found != nil {
		answer(w, http.StatusOK, found)
	}
}

func (d *door) putTemplate(w http.ResponseWriter, r *http.Request, who *account) {
	called := r.PathValue("name")
	if !templateName.MatchString(called) {
		refuse(w, http.StatusBadRequest, "name", "it has up to 63 small letters, digits and hyphens")
		return
	}
	text, ok := body(w, r, requestMost)
	if !ok {
		return
	}
	found, bad := parseTemplate(text, func(channel string) bool {
		_, is := d.shown[channel]
		return is || channel == prober && who.Name == prober
	})
	if bad != nil {
		refuse(w, http.StatusBadRequest, bad.Field, bad.Reason)
		return
	}
	err := d.store.putTemplate(r.Context(), who, called, found)
	if errors.Is(err, errMany) {
		refuse(w, http.StatusForbidden, "", err.Error())
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, found)
}

func (d *door) removeTemplate(w http.ResponseWriter, r *http.Request, who *account) {
	if called := r.PathValue("name"); templateName.MatchString(called) {
		if err := d.store.removeTemplate(r.Context(), who, called); err != nil {
			fail(w, err)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// accept answers when the message is in the database.
func (d *door) accept(w http.ResponseWriter, r *http.Request, who *account) {
	text, ok := body(w, r, requestMost)
	if !ok {
		return
	}
	asked, bad := parseRequest(text)
	if bad != nil {
		refuse(w, http.StatusBadRequest, bad.Field, bad.Reason)
		return
	}
	item := &message{ID: strings.ToLower(rand.Text()), Account: who.Name, Key: asked.Key, To: asked.To, Digest: asked.digest()}
	// What was accepted before is answered alike, whatever has become of its template.
	id, err := known(r.Context(), d.store.pool, who, item)
	if err == nil && id == "" {
		found := d.template(w, r, who, asked.Template)
		if found == nil {
			return
		}
		if _, is := d.sender.channels[found.Channel]; !is {
			refuse(w, http.StatusConflict, "template", fmt.Sprintf("the city no longer has the channel %s", found.Channel))
			return
		}
		item.Channel = found.Channel
		if bad = checkReceiver(found.Channel, asked.To); bad == nil {
			item.Subject, item.Text, bad = found.fill(asked.Values)
		}
		if bad != nil {
			refuse(w, http.StatusBadRequest, bad.Field, bad.Reason)
			return
		}
		id, err = d.store.accept(r.Context(), who, item)
	}
	switch {
	case errors.Is(err, errOther):
		refuse(w, http.StatusConflict, "key", "it is that of a message with another content")
	case errors.Is(err, errOften):
		w.Header().Set("Retry-After", "60")
		refuse(w, http.StatusTooManyRequests, "", fmt.Sprintf("%d messages are accepted in a minute", who.AtOnce*minuteEach))
	case errors.Is(err, errFull):
		w.Header().Set("Retry-After", "600")
		refuse(w, http.StatusTooManyRequests, "", fmt.Sprintf(
			"the app's messages, those of the last day included, may take %d bytes", who.Storage))
	case err != nil:
		fail(w, err)
	default:
		d.sender.told(item.Channel)
		answer(w, http.StatusAccepted, map[string]string{"id": id})
	}
}

func (d *door) showMessage(w http.ResponseWriter, r *http.Request, who *account) {
	id := r.PathValue("id")
	if !keyForm.MatchString(id) {
		notFound(w)
		return
	}
	found, err := d.store.message(r.Context(), who, id)
	switch {
	case err != nil:
		fail(w, err)
	case found == nil:
		notFound(w)
	default:
		answer(w, http.StatusOK, found)
	}
}
