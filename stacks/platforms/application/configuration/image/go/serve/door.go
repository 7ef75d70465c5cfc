package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// The longest that a request waits for a change, in seconds, and how often it looks without having been told: after a
	// restore, the database has changed behind the program.
	waitMost  = 60
	lookAgain = 5 * time.Second
	// The longest that a client takes to read an answer.
	readingMost = 10 * time.Second
	// What is counted of those who wait, before the account's name.
	waits = "waits "
)

// A door lets apps in to their own values.
type door struct {
	store  *store
	limits *limits
	// Digest of the administrator's password.
	admin string
	// Ends with the program: those who wait are answered.
	ending <-chan struct{}
}

type handler func(w http.ResponseWriter, r *http.Request, who *account)

// public is what apps reach.
func (d *door) public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", d.health)
	mux.HandleFunc("GET /values", d.signedIn(d.counted(d.list)))
	mux.HandleFunc("GET /values/{key...}", d.signedIn(d.called(d.get)))
	mux.HandleFunc("PUT /values/{key...}", d.signedIn(d.called(d.put)))
	mux.HandleFunc("DELETE /values/{key...}", d.signedIn(d.called(d.remove)))
	mux.HandleFunc("GET /versions/{key...}", d.signedIn(d.called(d.versions)))
	mux.HandleFunc("GET /changes", d.signedIn(d.changes))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there are /values, /values/KEY, /versions/KEY and /changes")
	})
	return mux
}

func (d *door) signedIn(next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		called, password, _ := r.BasicAuth()
		if !utf8.ValidString(called) || !nameForm.MatchString(called) {
			called = ""
		}
		who, err := d.store.signIn(r.Context(), called, password)
		if err == nil && who == nil {
			err = errGone
		}
		if err != nil {
			fail(w, err)
			return
		}
		next(w, r, who)
	}
}

// called checks the key of a request before it is counted.
func (d *door) called(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request, who *account) {
		if reason := checkKey(r.PathValue("key")); reason != "" {
			refuse(w, http.StatusBadRequest, reason)
			return
		}
		d.counted(next)(w, r, who)
	}
}

// counted holds how many requests of an account there are, at a time and in a second, but for those that wait.
func (d *door) counted(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request, who *account) {
		each, atOnce := readsEach, readsAtOnce
		if r.Method != http.MethodGet {
			each, atOnce = changesEach, changesAtOnce
		}
		if !d.limits.may(who, r.Method, each, atOnce) {
			d.tooMany(w, who, fmt.Sprintf("%d such requests of an account are answered in a second", each))
			return
		}
		end := d.limits.begin("calls "+who.Name, callsMost)
		if end == nil {
			d.tooMany(w, who, fmt.Sprintf("%d requests of an account are answered at a time", callsMost))
			return
		}
		defer end()
		next(w, r, who)
	}
}

func (d *door) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 4*time.Second)
	defer cancel()
	if err := d.store.pool.Ping(ctx); err != nil {
		refuse(w, http.StatusServiceUnavailable, "the database does not answer")
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (d *door) get(w http.ResponseWriter, r *http.Request, who *account) {
	found, err := d.store.get(r.Context(), who.Name, r.PathValue("key"))
	if err == nil && found == nil {
		err = errMissing
	}
	if err != nil {
		fail(w, err)
		return
	}
	tag := etag(found.Revision)
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-store")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	// A browser that is led here neither guesses what it is nor runs it.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, *found.Value)
}

func (d *door) put(w http.ResponseWriter, r *http.Request, who *account) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, valueMost))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a value has at most %d bytes", valueMost))
		return
	}
	if reason := checkValue(text); reason != "" {
		refuse(w, http.StatusBadRequest, reason)
		return
	}
	value := string(text)
	d.change(w, r, who, &value)
}

func (d *door) remove(w http.ResponseWriter, r *http.Request, who *account) { d.change(w, r, who, nil) }

func (d *door) change(w http.ResponseWriter, r *http.Request, who *account, value *string) {
	when, reason := conditionOf(r.Header)
	if reason != "" {
		refuse(w, http.StatusBadRequest, reason)
		return
	}
	// One after the other, so that they do not wait for each other with connections of the database.
	end := d.limits.hold(r.Context(), "changes "+who.Name, 1)
	if end == nil {
		return
	}
	defer end()
	revision, changed, err := d.store.change(r.Context(), who.Name, r.PathValue("key"), value, when)
	if err != nil {
		fail(w, err)
		return
	}
	if changed {
		d.limits.told(who)
	}
	w.Header().Set("ETag", etag(revision))
	answer(w, http.StatusOK, map[string]int64{"revision": revision})
}

// conditionOf reads the headers by which a change is refused if somebody else was faster.
func conditionOf(headers http.Header) (found condition, reason string) {
	match, none := headers.Get("If-Match"), headers.Get("If-None-Match")
	switch {
	case match == "" && none == "":
		return condition{any: true}, ""
	case match == "" && none == "*":
		return condition{}, ""
	case none == "":
		text, isQuoted := strings.CutPrefix(match, `"`)
		text, ends := strings.CutSuffix(text, `"`)
		revision, err := strconv.ParseInt(text, 10, 64)
		if isQuoted && ends && err == nil && revision > 0 {
			return condition{revision: revision}, ""
		}
	}
	return condition{}, `a change has If-Match: "REVISION", or If-None-Match: *, or neither`
}

func (d *door) versions(w http.ResponseWriter, r *http.Request, who *account) {
	found, err := d.store.versions(r.Context(), who.Name, r.PathValue("key"), versionsMost)
	if err == nil && len(found) == 0 {
		err = errMissing
	}
	if err != nil {
		fail(w, err)
		return
	}
	d.tell(w, r, who, func() (any, error) { return map[string][]entry{"versions": found}, nil })
}

func (d *door) list(w http.ResponseWriter, r *http.Request, who *account) {
	d.tell(w, r, who, func() (any, error) {
		found, err := d.store.changes(r.Context(), who.Name, 0)
		if err != nil {
			return nil, err
		}
		return map[string]any{"revision": found.Revision, "values": found.Changes}, nil
	})
}

// changes answers at once if there is something that the client does not know, and otherwise with the next change, or
// without one after as many seconds as it says.
func (d *door) changes(w http.ResponseWriter, r *http.Request, who *account) {
	since, wait, reason := asked(r)
	if reason != "" {
		refuse(w, http.StatusBadRequest, reason)
		return
	}
	if !d.limits.may(who, r.Method, readsEach, readsAtOnce) {
		d.tooMany(w, who, fmt.Sprintf("%d such requests of an account are answered in a second", readsEach))
		return
	}
	end := d.limits.begin(waits+who.Name, who.Connections)
	if end == nil {
		d.tooMany(w, who, fmt.Sprintf("%d requests of the account wait for changes at a time", who.Connections))
		return
	}
	defer end()
	if err := d.wait(r.Context(), who, since, wait); err != nil {
		fail(w, err)
		return
	}
	d.tell(w, r, who, func() (any, error) { return d.store.changes(r.Context(), who.Name, since) })
}

func asked(r *http.Request) (since int64, wait time.Duration, reason string) {
	query, seconds := r.URL.Query(), int64(0)
	for name, to := range map[string]*int64{"since": &since, "wait": &seconds} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		found, err := strconv.ParseInt(text, 10, 64)
		if err != nil || found < 0 {
			return 0, 0, fmt.Sprintf("%s is a whole number from 0", name)
		}
		*to = found
	}
	if seconds > waitMost {
		return 0, 0, fmt.Sprintf("wait is at most %d seconds", waitMost)
	}
	return since, time.Duration(seconds) * time.Second, ""
}

// wait returns when there is something to tell, when the time is over, or when the program ends.
func (d *door) wait(ctx context.Context, who *account, since int64, most time.Duration) error {
	over := time.After(most)
	for {
		next := d.limits.next(who.Name)
		is, err := d.store.isNews(ctx, who, since)
		if err != nil || is {
			return err
		}
		select {
		case <-next:
		case <-time.After(lookAgain):
		case <-over:
			return nil
		case <-d.ending:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tell answers with what may be many values. One of an account at a time, and few of all: each is in memory until the
// client has read it, which it has to do soon.
func (d *door) tell(w http.ResponseWriter, r *http.Request, who *account, make func() (any, error)) {
	waiting, cancel := context.WithTimeout(r.Context(), readingMost)
	defer cancel()
	// Its own first: who reads much holds nothing of others meanwhile.
	for _, one := range []struct {
		key  string
		most int
	}{{"answers of account " + who.Name, 1}, {"answers of tenant " + who.Tenant, tenantsAnswers}, {"answers", answersMost}} {
		end := d.limits.hold(waiting, one.key, one.most)
		if end == nil {
			d.tooMany(w, who, "too many values are read at a time")
			return
		}
		defer end()
	}
	content, err := make()
	if err != nil {
		fail(w, err)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(readingMost))
	answer(w, http.StatusOK, content)
}

func etag(revision int64) string { return fmt.Sprintf(`"%d"`, revision) }

func answer(w http.ResponseWriter, code int, content any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(content)
}

func refuse(w http.ResponseWriter, code int, reason string) {
	answer(w, code, map[string]string{"reason": reason})
}

func (d *door) tooMany(w http.ResponseWriter, who *account, reason string) {
	d.limits.refuse(who)
	w.Header().Set("Retry-After", "1")
	refuse(w, http.StatusTooManyRequests, reason)
}

// fail answers what came of a request. What the database says is for the log alone.
func fail(w http.ResponseWriter, err error) {
	var limit errLimit
	switch {
	case errors.Is(err, errGone):
		w.Header().Set("WWW-Authenticate", `Basic realm="configuration of the city"`)
		refuse(w, http.StatusUnauthorized, "sign in with the account of the app's binding")
	case errors.Is(err, errMissing):
		refuse(w, http.StatusNotFound, errMissing.Error())
	case errors.Is(err, errChanged):
		refuse(w, http.StatusPreconditionFailed, errChanged.Error())
	case errors.As(err, &limit):
		refuse(w, http.StatusInsufficientStorage, limit.reason)
	case errors.Is(err, context.Canceled):
	default:
		log.Printf("database: %.500q", err.Error())
		refuse(w, http.StatusServiceUnavailable, "the database does not answer: try again")
	}
}
