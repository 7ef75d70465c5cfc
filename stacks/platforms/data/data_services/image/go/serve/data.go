package serve

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// What came of a call: answered; refused; failed, so that the owner has to look; or not possible at the moment.
const (
	served      = "served"
	denied      = "refused"
	failing     = "failed"
	unavailable = "unavailable"
)

// outcome is what came of a call that is answered by a code.
func outcome(code int) string {
	switch {
	case code == http.StatusServiceUnavailable:
		return unavailable
	case code >= 500:
		return failing
	case code >= 400:
		return denied
	}
	return served
}

// read answers a page of a table with what the consumer is granted of it. Nothing is answered that was not recorded.
func (d *door) read(w http.ResponseWriter, r *http.Request, who *account) {
	found := d.find(w, r, who)
	if found == nil {
		d.counters.add(who, denied, 0)
		return
	}
	made := call{Account: who.Name, Consumer: who.consumer(), Columns: []string{}}
	made.Purpose = strings.ToValidUTF8(r.URL.Query().Get("purpose"), "")
	content, reply := d.page(r, who, found, &made)
	d.counters.add(who, made.Outcome, made.Rows)
	// What comes too often would fill the record with itself.
	if reply.code != http.StatusTooManyRequests {
		kept := made.shortened()
		line, _ := json.Marshal(map[string]any{
			"call": found.name.String(), "account": kept.Account, "columns": kept.Columns, "purpose": kept.Purpose,
			"rows": kept.Rows, "outcome": kept.Outcome, "reason": kept.Reason,
		})
		log.Print(string(line))
		if err := d.catalogue.record(context.WithoutCancel(r.Context()), found.name, kept); err != nil {
			fail(w, err)
			return
		}
	}
	if made.Outcome != served {
		if reply.code == http.StatusTooManyRequests || reply.code == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		refuse(w, reply.code, reply.field, made.Reason)
		return
	}
	answer(w, http.StatusOK, content)
}

type reply struct {
	code  int
	field string
}

// page returns what is answered, and says in the call what came of it.
func (d *door) page(r *http.Request, who *account, found *stored, made *call) (map[string]any, reply) {
	deny := func(code int, field, reason string) (map[string]any, reply) {
		made.Outcome, made.Reason = outcome(code), reason
		return nil, reply{code, field}
	}
	grant, perMinute := found.document.granted(who.Tenant, who.App), minuteDefault
	if grant != nil && grant.Minute > 0 {
		perMinute = grant.Minute
	}
	end, reason := d.limits.begin(who, found.name, perMinute)
	if reason != "" {
		return deny(http.StatusTooManyRequests, "", reason)
	}
	defer end()
	if grant == nil {
		return deny(http.StatusForbidden, "", "nothing of "+found.name.String()+" is granted to "+who.consumer())
	}
	is, err := d.catalogue.isServed(r.Context(), found.name)
	if err != nil {
		return deny(http.StatusServiceUnavailable, "", "the catalogue's database does not answer: try again")
	}
	if !is && !probing().owns(found.name) {
		return deny(http.StatusForbidden, "", "the app that owns "+found.name.String()+" has left")
	}
	query := r.URL.Query()
	asked, err := ask(found.document, grant, query)
	if asked != nil {
		made.Columns = asked.columns
	}
	if err == nil && query.Get("cursor") != "" {
		use := asked.use(who.Name, found.name, found.version)
		asked.after, err = d.cursors.open(query.Get("cursor"), use, len(found.document.Table.Key))
	}
	var rows *page
	if err == nil {
		rows, err = d.reader.read(r.Context(), found.name, found.document.Table, grant.Rows, asked)
	}
	if err != nil {
		code, field, reason := explain(err, who.owns(found.name))
		if code >= 500 {
			// Quoted: a function of the owner's may raise any text, such as a line that looks like a call's.
			log.Printf("data of %s for %s: %.500q", found.name, who.Name, err.Error())
		}
		return deny(code, field, reason)
	}
	d.mask(rows, asked.columns, grant, who, found.name)
	content := map[string]any{
		"asset": found.name.String(), "version": found.version, "columns": asked.columns, "rows": rows.rows,
	}
	if rows.rows == nil {
		content["rows"] = [][]any{}
	}
	if rows.next != nil {
		cursor, err := d.cursors.seal(*rows.next, asked.use(who.Name, found.name, found.version))
		if err != nil {
			return deny(http.StatusInternalServerError, "", "no cursor could be made")
		}
		content["cursor"] = cursor
	}
	made.Outcome, made.Rows = served, len(rows.rows)
	return content, reply{}
}

func (d *door) mask(rows *page, columns []string, g *grant, who *account, asset name) {
	for index, column := range columns {
		mask := g.Masks[column]
		if mask == "" {
			continue
		}
		key := hmac.New(sha256.New, d.masking)
		key.Write([]byte(who.consumer() + " " + asset.String() + " " + column))
		sum := key.Sum(nil)
		for _, row := range rows.rows {
			row[index] = masked(mask, row[index], sum)
		}
	}
}

// explain is how an error is answered. What a database says of itself is told to its owner alone.
func explain(err error, isOwner bool) (code int, field, reason string) {
	var refusal *refusal
	var fault *fault
	var consent *errConsent
	var long *pgproto3.ExceededMaxBodyLenErr
	var told *pgconn.PgError
	switch {
	case errors.As(err, &refusal):
		return http.StatusForbidden, "", refusal.Reason
	case errors.As(err, &fault):
		return http.StatusBadRequest, fault.Field, fault.Reason
	case errors.Is(err, errBusy):
		return http.StatusServiceUnavailable, "", errBusy.Error()
	case errors.As(err, &long):
		return http.StatusBadGateway, "", "a row is larger than what can be read here"
	case errors.As(err, &consent):
		return http.StatusBadGateway, "", ownerHasToLook(consent.reason, isOwner)
	case !errors.As(err, &told):
		return http.StatusServiceUnavailable, "", "the database does not answer: try again"
	}
	// Source: PostgreSQL's documentation, appendix A: data exception, undefined function; query cancelled and lock not
	// available; insufficient resources, operator intervention.
	switch {
	case strings.HasPrefix(told.Code, "22") || told.Code == "42883":
		return http.StatusBadRequest, "where", "a value does not fit its column"
	case told.Code == "57014" || told.Code == "55P03":
		return http.StatusServiceUnavailable, "", "the table was not read in time: ask for less, or by its key"
	case strings.HasPrefix(told.Code, "53") || strings.HasPrefix(told.Code, "57"):
		return http.StatusServiceUnavailable, "", "the database does not answer: try again"
	}
	return http.StatusBadGateway, "", ownerHasToLook(told.Message, isOwner)
}

func ownerHasToLook(why string, isOwner bool) string {
	reason := "the table cannot be read: its owner has to look at what the asset says and at the rights of the reader"
	if isOwner {
		reason += ": " + why
	}
	return reason
}
