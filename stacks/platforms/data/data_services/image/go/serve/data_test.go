package serve

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

func TestWhatADatabaseSaysIsItsOwners(t *testing.T) {
	withheld := fmt.Errorf("read: %w", &pgconn.PgError{Code: "42501", Message: "permission denied for table visits"})
	for _, item := range []struct {
		err     error
		isOwner bool
		code    int
		outcome string
		reason  string
	}{
		{withheld, false, 502, failing, "the rights of the reader"},
		{withheld, true, 502, failing, "permission denied for table visits"},
		{&errConsent{"no comment"}, false, 502, failing, "the rights of the reader"},
		{&errConsent{"no comment"}, true, 502, failing, "no comment"},
		{&pgproto3.ExceededMaxBodyLenErr{}, true, 502, failing, "a row is larger"},
		{&pgconn.PgError{Code: "22P02", Message: "secret"}, true, 400, denied, "does not fit its column"},
		{&pgconn.PgError{Code: "57014"}, false, 503, unavailable, "not read in time"},
		{&pgconn.PgError{Code: "53300"}, false, 503, unavailable, "try again"},
		{&pgconn.PgError{Code: "57P01"}, false, 503, unavailable, "try again"},
		{errors.New("connection refused by 10.0.0.7"), true, 503, unavailable, "try again"},
		{errBusy, false, 503, unavailable, "too many"},
		{refused("column %q is not granted", "age"), false, 403, denied, `column "age" is not granted`},
		{wrong("limit", "it is a number"), false, 400, denied, "it is a number"},
	} {
		code, _, reason := explain(item.err, item.isOwner)
		if code != item.code || outcome(code) != item.outcome || !strings.Contains(reason, item.reason) {
			t.Errorf("%v is answered by %d %s: %s", item.err, code, outcome(code), reason)
		}
		if !item.isOwner && (strings.Contains(reason, "permission denied") || strings.Contains(reason, "no comment")) {
			t.Errorf("a consumer is told: %s", reason)
		}
		if strings.Contains(reason, "10.0.0.7") || strings.Contains(reason, "secret") {
			t.Errorf("anybody is told: %s", reason)
		}
	}
}

func TestACallIsRecordedWithinBounds(t *testing.T) {
	made := call{Purpose: strings.Repeat("p", 1000) + "\x00", Reason: strings.Repeat("张", 100), Columns: []string{"id"}}
	if found := made.shortened(); len(found.Purpose) != callText || len(found.Reason) != 198 || len(found.Columns) != 1 {
		t.Errorf("%d bytes of purpose, %d of reason, %v", len(found.Purpose), len(found.Reason), found.Columns)
	}
	for range 100 {
		made.Columns = append(made.Columns, strings.Repeat("c", 60))
	}
	found := made.shortened()
	if last := found.Columns[len(found.Columns)-1]; len(found.Columns) != 18 || last != "and 84 more" || len(made.Columns) != 101 {
		t.Errorf("%d columns, of which the last is %s", len(found.Columns), last)
	}
}

func TestMetricsBeginAtZero(t *testing.T) {
	found := newCounters()
	web := account{Tenant: "parks", App: "web"}
	found.add(&web, served, 3)
	found.add(probing(), denied, 0)
	told := found.tell([]account{web, {Tenant: "roads", App: "bus"}})
	for _, line := range []string{
		`wecity_data_calls_total{tenant="parks",app="web",outcome="served"} 1`,
		`wecity_data_calls_total{tenant="roads",app="bus",outcome="unavailable"} 0`,
		`wecity_data_calls_total{tenant="",app="",outcome="refused"} 1`,
		`wecity_data_rows_total{tenant="parks",app="web"} 3`,
		`wecity_data_rows_total{tenant="",app=""} 0`,
	} {
		if !strings.Contains(told, line+"\n") {
			t.Errorf("%s is not in\n%s", line, told)
		}
	}
	if strings.Contains(told, "capability") {
		t.Errorf("the probe is counted as an app's:\n%s", told)
	}
}
