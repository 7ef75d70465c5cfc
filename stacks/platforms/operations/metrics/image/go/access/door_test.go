package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const secret = "a-password-of-24-letters"

// opened is a door with the accounts of two tenants' apps and of a capability, before a server that tells what it got.
func opened(t *testing.T) (*door, string) {
	t.Helper()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s?%s %s %s", r.Method, r.URL.Path, r.URL.RawQuery, body, r.Header.Get("Authorization"))
	}))
	t.Cleanup(behind.Close)
	target, _ := url.Parse(behind.URL)
	directory := t.TempDir()
	known, err := openAccounts(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []account{
		{Name: "health.code.metrics", Owner: "health/code/metrics", Tenant: "health", Connections: 1},
		{Name: "transport.bus.metrics", Owner: "transport/bus/metrics", Tenant: "transport", Connections: 1},
		{Name: "capability.alerts.metrics", Owner: "capability/alerts/metrics", Connections: 4},
	} {
		if err := known.put(item, secret); err != nil {
			t.Fatal(err)
		}
	}
	return &door{accounts: known, target: target, admin: digestOf("admins"), observer: digestOf("observers"), breaker: newBreaker("")}, directory
}

func ask(handler http.Handler, method, target, user, password, body string) (int, string) {
	request := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

func TestATenantReadsItsOwnSeries(t *testing.T) {
	door, _ := opened(t)
	handler := door.queries()
	code, told := ask(handler, "GET", "/api/v1/query?query=up", "health.code.metrics", secret, "")
	if code != 200 || told != "POST /api/v1/query?extra_label=tenant%3Dhealth query=up " {
		t.Errorf("%d %q", code, told)
	}
	code, told = ask(handler, "POST", "/api/v1/query", "capability.alerts.metrics", secret, "query=up")
	if code != 200 || told != "POST /api/v1/query? query=up " {
		t.Errorf("%d %q", code, told)
	}
}

func TestQueriesAreCountedByApp(t *testing.T) {
	door, _ := opened(t)
	handler := door.queries()
	for _, user := range []string{"health.code.metrics", "health.code.metrics", "capability.alerts.metrics"} {
		if code, told := ask(handler, "GET", "/api/v1/query?query=up", user, secret, ""); code != 200 {
			t.Errorf("%d %q", code, told)
		}
	}
	ask(handler, "GET", "/api/v1/query?query=up", "transport.bus.metrics", "another", "")
	code, told := ask(door.administration(), "GET", "/metrics", "", "", "")
	wanted := "# TYPE wecity_metrics_queries_total counter\nwecity_metrics_queries_total{tenant=\"health\",app=\"code\"} 2\n"
	if code != 200 || told != wanted {
		t.Errorf("%d %q", code, told)
	}
}

func TestNothingElseIsLetThrough(t *testing.T) {
	door, _ := opened(t)
	handler := door.queries()
	user := "health.code.metrics"
	for _, item := range []struct {
		method, target, user, password, body string
		code                                 int
	}{
		{"GET", "/api/v1/query?query=up&extra_label=tenant%3Dtransport", user, secret, "", 400},
		{"GET", "/api/v1/query?query=up&extra_filters[]=%7B%7D", user, secret, "", 400},
		{"POST", "/api/v1/query", user, secret, "query=up&extra_filters=%7Ba%3D%22b%22%7D", 400},
		{"POST", "/api/v1/query", user, secret, "query=up;extra_filters=x", 400},
		{"POST", "/api/v1/query", user, secret, "query=" + strings.Repeat("x", longestQuery), 400},
		{"GET", "/api/v1/query?query=up", user, "another", "", 401},
		{"GET", "/api/v1/query?query=up", user, "", "", 401},
		{"GET", "/api/v1/query?query=up", "", "", "", 401},
		{"GET", "/api/v1/query?query=up", "nobody", secret, "", 401},
		{"POST", "/api/v1/write", user, secret, "x", 403},
		{"GET", "/api/v1/export?match[]=up", user, secret, "", 403},
		{"GET", "/api/v1/query/../export?match[]=up", user, secret, "", 403},
		{"GET", "/api/v1/admin/tsdb/delete_series", user, secret, "", 403},
		{"GET", "/metrics", user, secret, "", 403},
		{"GET", "/", user, secret, "", 403},
		{"GET", "/api/v1/query?query=up", "observer", "observers", "", 403},
		{"POST", "/api/v1/write?extra_label=a%3Db", "observer", "observers", "x", 400},
		{"POST", "/api/v1/write", "observer", "observers", "x", 200},
		{"POST", "/api/v1/write", "capability.alerts.metrics", secret, "x", 200},
		{"GET", "/api/v1/label/app/values", user, secret, "", 200},
		{"GET", "/api/v1/export", "admin", "admins", "", 200},
		{"GET", "/health", "", "", "", 200},
	} {
		if code, told := ask(handler, item.method, item.target, item.user, item.password, item.body); code != item.code {
			t.Errorf("%s %s as %q: %d %s, not %d", item.method, item.target, item.user, code, told, item.code)
		}
	}
}

func TestThePasswordStays(t *testing.T) {
	door, _ := opened(t)
	if _, told := ask(door.queries(), "GET", "/api/v1/export", "admin", "admins", ""); strings.Contains(told, "Basic") {
		t.Error("the server behind gets the administrator's password")
	}
}

func TestAnAccountHasItsShare(t *testing.T) {
	door, _ := opened(t)
	leave, ok := door.accounts.enter(account{Name: "health.code.metrics", Connections: 1})
	if !ok {
		t.Fatal("the first query is refused")
	}
	code, _ := ask(door.queries(), "GET", "/api/v1/query?query=up", "health.code.metrics", secret, "")
	unread, _ := ask(
		door.queries(), "POST", "/api/v1/query", "health.code.metrics", secret, "query="+strings.Repeat("x", longestQuery),
	)
	other, _ := ask(door.queries(), "GET", "/api/v1/query?query=up", "transport.bus.metrics", secret, "")
	leave()
	after, _ := ask(door.queries(), "GET", "/api/v1/query?query=up", "health.code.metrics", secret, "")
	if code != 429 || other != 200 || after != 200 {
		t.Errorf("the second query is answered by %d, another account's by %d, a later one by %d", code, other, after)
	}
	if unread != 429 {
		t.Errorf("a query that may not run is read all the same: %d", unread)
	}
}

func TestTenantsLeaveRoomForAlerts(t *testing.T) {
	door, _ := opened(t)
	door.accounts.patience = 10 * time.Millisecond
	for range ofTenants {
		if _, ok := door.accounts.share(t.Context(), account{Tenant: "transport"}); !ok {
			t.Fatal("a query is refused, and fewer run than may")
		}
	}
	tenant, _ := ask(door.queries(), "GET", "/api/v1/query?query=up", "health.code.metrics", secret, "")
	alerts, _ := ask(door.queries(), "GET", "/api/v1/query?query=up", "capability.alerts.metrics", secret, "")
	<-door.accounts.tenants
	after, _ := ask(door.queries(), "GET", "/api/v1/query?query=up", "health.code.metrics", secret, "")
	if tenant != 429 || alerts != 200 || after != 200 || len(door.accounts.tenants) != ofTenants-1 {
		t.Errorf("a tenant's query is answered by %d, that of alerts by %d, a later one by %d", tenant, alerts, after)
	}
}

func TestAccountsAreTheAdministrators(t *testing.T) {
	door, directory := opened(t)
	handler := door.administration()
	do := func(method, target, body string, wanted int) {
		t.Helper()
		if code, told := ask(handler, method, target, "admin", "admins", body); code != wanted {
			t.Errorf("%s %s: %d %s, not %d", method, target, code, told, wanted)
		}
	}
	if code, _ := ask(handler, "GET", "/accounts", "health.code.metrics", secret, ""); code != 401 {
		t.Errorf("an app lists accounts: %d", code)
	}
	name, owner := "/accounts/health.code.metrics", "?owner=health/code/metrics"
	do("PUT", name+"?owner=transport/bus/metrics&tenant=transport&connections=4", secret, 409)
	do("PUT", name+owner+"&tenant=transport&connections=4", secret, 400)
	do("PUT", name+owner+"&tenant=health", secret, 400)
	do("PUT", name+owner+"&tenant=health&connections=4", "short", 400)
	do("PUT", "/accounts/..%2f..%2fetc%2fpasswd"+owner+"&tenant=health&connections=4", secret, 400)
	do("POST", name+"/lock?owner=transport/bus/metrics", "", 204)
	do("POST", name+"/lock"+owner, "", 204)
	if code, _ := ask(door.queries(), "GET", "/api/v1/query?query=up", "health.code.metrics", secret, ""); code != 401 {
		t.Errorf("a locked account asks: %d", code)
	}
	again, err := openAccounts(directory)
	if err != nil || len(again.known) != 3 || again.known["health.code.metrics"].Locked == 0 {
		t.Errorf("what is kept: %v %v", again.known, err)
	}
	_, told := ask(handler, "GET", "/accounts", "admin", "admins", "")
	if !strings.Contains(told, "account health.code.metrics health/code/metrics 0 locked 1") ||
		!strings.Contains(told, "account transport.bus.metrics transport/bus/metrics 0 open -\n") {
		t.Error(told)
	}
	do("DELETE", name+"?owner=transport/bus/metrics", "", 204)
	do("PUT", name+owner+"&tenant=health&connections=4", secret, 204)
	do("DELETE", name+owner, "", 204)
	if _, told = ask(handler, "GET", "/accounts", "admin", "admins", ""); strings.Contains(told, "health.code") {
		t.Error(told)
	}
}
