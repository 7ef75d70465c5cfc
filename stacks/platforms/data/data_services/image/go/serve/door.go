package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

const administrator = "admin"

// A door lets apps in: to the catalogue, as far as it is shared with them, and to the tables that they are granted.
type door struct {
	catalogue *catalogue
	reader    *reader
	cursors   *cursors
	counters  *counters
	limits    *limits
	// Digests of the passwords of the administrator and of the probe.
	admin, probe string
	// The role to which owners grant their tables, and the key of hashes that stand for values.
	role    string
	masking []byte
}

type handler func(w http.ResponseWriter, r *http.Request, who *account)

// public is what apps reach.
func (d *door) public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", d.health)
	for pattern, handle := range map[string]handler{
		"GET /me":                                     d.me,
		"GET /assets":                                 d.list,
		"GET /assets/{tenant}/{app}/{asset}":          d.show,
		"PUT /assets/{tenant}/{app}/{asset}":          d.put,
		"DELETE /assets/{tenant}/{app}/{asset}":       d.remove,
		"GET /assets/{tenant}/{app}/{asset}/history":  d.history,
		"GET /assets/{tenant}/{app}/{asset}/lineage":  d.lineage,
		"GET /assets/{tenant}/{app}/{asset}/quality":  d.quality,
		"POST /assets/{tenant}/{app}/{asset}/quality": d.addQuality,
		"GET /assets/{tenant}/{app}/{asset}/calls":    d.calls,
		"GET /data/{tenant}/{app}/{asset}":            d.read,
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
		who, err := d.signIn(r.Context(), called, password)
		if err != nil {
			fail(w, err)
			return
		}
		if who == nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="data services of the city"`)
			refuse(w, http.StatusUnauthorized, "", "sign in with the account of the app's binding")
			return
		}
		next(w, r, who)
	}
}

func (d *door) signIn(ctx context.Context, called, password string) (*account, error) {
	if called == prober {
		if matches(d.probe, password) {
			return probing(), nil
		}
		return nil, nil
	}
	return d.catalogue.signIn(ctx, called, password)
}

func (d *door) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 4*time.Second)
	defer cancel()
	if err := d.catalogue.pool.Ping(ctx); err != nil {
		refuse(w, http.StatusServiceUnavailable, "", "the catalogue's database does not answer")
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
	found, err := d.catalogue.status(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, found)
}

// me tells who asks, and to which role of the database an owner grants what is to be read.
func (d *door) me(w http.ResponseWriter, _ *http.Request, who *account) {
	answer(w, http.StatusOK, map[string]string{"account": who.Name, "tenant": who.Tenant, "app": who.App, "reader": d.role})
}

func asked(r *http.Request) (name, bool) {
	found := name{r.PathValue("tenant"), r.PathValue("app"), r.PathValue("asset")}
	return found, partForm.MatchString(found.Tenant) && partForm.MatchString(found.App) && partForm.MatchString(found.Asset)
}

func (a *account) owns(asset name) bool { return a.Tenant == asset.Tenant && a.App == asset.App }

// find returns the asset of a request if who asks sees it; otherwise it has answered, alike for what is not there.
func (d *door) find(w http.ResponseWriter, r *http.Request, who *account) *stored {
	wanted, ok := asked(r)
	if !ok {
		notFound(w)
		return nil
	}
	found, err := d.catalogue.get(r.Context(), wanted)
	if err != nil {
		fail(w, err)
		return nil
	}
	if found == nil || !found.document.visible(found.name, who.Tenant) {
		notFound(w)
		return nil
	}
	return found
}

// own returns the name in a request if it is of the app that asks.
func own(w http.ResponseWriter, r *http.Request, who *account) (name, bool) {
	wanted, ok := asked(r)
	if !ok {
		refuse(w, http.StatusBadRequest, "asset", "tenant, app and asset are names of small letters, digits and hyphens")
		return wanted, false
	}
	if !who.owns(wanted) {
		refuse(w, http.StatusForbidden, "", "assets of "+wanted.Tenant+"/"+wanted.App+" are changed by that app alone")
		return wanted, false
	}
	return wanted, true
}

func (d *door) put(w http.ResponseWriter, r *http.Request, who *account) {
	wanted, ok := own(w, r, who)
	if !ok {
		return
	}
	text, ok := body(w, r, documentMost)
	if !ok {
		return
	}
	found, bad := parse(text, wanted)
	if bad != nil {
		refuse(w, http.StatusBadRequest, bad.Field, bad.Reason)
		return
	}
	made, err := d.catalogue.put(r.Context(), wanted, found, who)
	if errors.Is(err, errFull) {
		refuse(w, http.StatusForbidden, "", fmt.Sprintf(
			"the assets of the app may be %d, with documents of %d bytes together", assetsMost, who.Storage))
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"asset": wanted.String(), "version": made})
}

func (d *door) remove(w http.ResponseWriter, r *http.Request, who *account) {
	wanted, ok := own(w, r, who)
	if !ok {
		return
	}
	if err := d.catalogue.remove(r.Context(), wanted, who); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// shown is what an app sees of an asset: its owner all, others neither where it is stored nor who else may read it, but
// what they may read themselves.
func shown(item *stored, who *account) map[string]any {
	d := *item.document
	found := map[string]any{"asset": item.name.String(), "version": item.version, "changed": item.changed, "document": &d}
	if mine := d.granted(who.Tenant, who.App); mine != nil {
		found["granted"] = mine
	}
	if !who.owns(item.name) {
		// Of what it is made, as far as they see that, `lineage` tells.
		d.Table, d.Grants, d.Sources = nil, nil, nil
	}
	return found
}

func (d *door) show(w http.ResponseWriter, r *http.Request, who *account) {
	found := d.find(w, r, who)
	if found == nil {
		return
	}
	results, err := d.catalogue.results(r.Context(), found.name)
	if err != nil {
		fail(w, err)
		return
	}
	content := shown(found, who)
	content["quality"] = latest(results)
	answer(w, http.StatusOK, content)
}

// latest are the newest results of each rule, of results with the newest first.
func latest(results []result) []result {
	found, known := []result{}, map[string]bool{}
	for _, item := range results {
		if !known[item.Rule] {
			found, known[item.Rule] = append(found, item), true
		}
	}
	return found
}

func (d *door) list(w http.ResponseWriter, r *http.Request, who *account) {
	query := r.URL.Query()
	for _, field := range []string{"q", "kind", "tenant", "after"} {
		if bad := text(field, query.Get(field), 0, 200); bad != nil {
			refuse(w, http.StatusBadRequest, bad.Field, bad.Reason)
			return
		}
	}
	wanted := search{query.Get("q"), query.Get("kind"), query.Get("tenant"), query.Get("after"), 100}
	found, err := d.catalogue.list(r.Context(), who.Tenant, wanted)
	if err != nil {
		fail(w, err)
		return
	}
	items := []map[string]any{}
	for _, item := range found {
		items = append(items, map[string]any{
			"asset": item.name.String(), "version": item.version, "kind": item.document.Kind, "title": item.document.Title,
			"sharing": item.document.Sharing,
		})
	}
	answered := map[string]any{"assets": items}
	if len(items) == wanted.limit {
		answered["after"] = items[len(items)-1]["asset"]
	}
	answer(w, http.StatusOK, answered)
}

func (d *door) history(w http.ResponseWriter, r *http.Request, who *account) {
	wanted, ok := own(w, r, who)
	if !ok {
		return
	}
	found, err := d.catalogue.history(r.Context(), wanted)
	if err != nil {
		fail(w, err)
		return
	}
	if len(found) == 0 {
		notFound(w)
		return
	}
	answer(w, http.StatusOK, map[string]any{"versions": found})
}

func (d *door) lineage(w http.ResponseWriter, r *http.Request, who *account) {
	found := d.find(w, r, who)
	if found == nil {
		return
	}
	sources, made := []string{}, []string{}
	for _, item := range found.document.Sources {
		source, _ := parseName(item)
		known, err := d.catalogue.get(r.Context(), source)
		if err != nil {
			fail(w, err)
			return
		}
		if known != nil && known.document.visible(source, who.Tenant) {
			sources = append(sources, item)
		}
	}
	following, err := d.catalogue.made(r.Context(), who.Tenant, found.name)
	if err != nil {
		fail(w, err)
		return
	}
	for _, item := range following {
		made = append(made, item.name.String())
	}
	answer(w, http.StatusOK, map[string]any{"sources": sources, "made": made})
}

func (d *door) quality(w http.ResponseWriter, r *http.Request, who *account) {
	found := d.find(w, r, who)
	if found == nil {
		return
	}
	results, err := d.catalogue.results(r.Context(), found.name)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"results": append([]result{}, results...)})
}

func (d *door) addQuality(w http.ResponseWriter, r *http.Request, who *account) {
	wanted, ok := own(w, r, who)
	if !ok {
		return
	}
	known, err := d.catalogue.get(r.Context(), wanted)
	if err != nil {
		fail(w, err)
		return
	}
	if known == nil {
		notFound(w)
		return
	}
	content, ok := body(w, r, 8<<10)
	if !ok {
		return
	}
	item := result{At: time.Now().UTC()}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&item); err != nil {
		refuse(w, http.StatusBadRequest, "(document)", "it is no JSON of a result: "+err.Error())
		return
	}
	for _, bad := range []*fault{text("rule", item.Rule, 1, 100), text("detail", item.Detail, 0, 500)} {
		if bad != nil {
			refuse(w, http.StatusBadRequest, bad.Field, bad.Reason)
			return
		}
	}
	if item.At.After(time.Now().Add(5*time.Minute)) || item.At.Year() < 2000 {
		refuse(w, http.StatusBadRequest, "at", "it is a time that has been")
		return
	}
	if err := d.catalogue.addResult(r.Context(), wanted, item); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// calls tells an owner who has asked what of an asset.
func (d *door) calls(w http.ResponseWriter, r *http.Request, who *account) {
	wanted, ok := own(w, r, who)
	if !ok {
		return
	}
	d.tellCalls(w, r, &wanted)
}

func (d *door) tellCalls(w http.ResponseWriter, r *http.Request, asset *name) {
	before := int64(1<<63 - 1)
	if stated := r.URL.Query().Get("before"); stated != "" {
		var err error
		if before, err = strconv.ParseInt(stated, 10, 64); err != nil {
			refuse(w, http.StatusBadRequest, "before", "it is the number of a call")
			return
		}
	}
	found, err := d.catalogue.calls(r.Context(), asset, before, 1000)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, map[string]any{"calls": append([]call{}, found...)})
}
