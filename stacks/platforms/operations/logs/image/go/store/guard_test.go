package store

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

const password = "administrator's"

var served *httptest.Server

// One store in the process: parks and health have a line each, and accounts.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	data, err := os.MkdirTemp("", "logs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(data)
	handler, stop, err := Open(data, 30, password)
	if err != nil {
		panic(err)
	}
	defer stop()
	served = httptest.NewServer(handler)
	defer served.Close()
	now := time.Now().UTC().Add(-time.Minute).Format(time.RFC3339Nano)
	var lines strings.Builder
	for _, tenant := range []string{"parks", "health"} {
		fmt.Fprintf(&lines, `{"_time":"%s","tenant":"%s","pod":"%s-0","namespace":"n","word":"apple","_msg":"apple of %s"}`+"\n",
			now, tenant, tenant, tenant)
		open := fmt.Sprintf(`{"action":"open","name":"%s.app","tenant":"%s","owner":"%s/app/logs","requests":2,"sha256":"%s"}`,
			tenant, tenant, tenant, digest("of "+tenant))
		if code, text := send(Admin, password, "POST", "/accounts", open, nil); code != http.StatusNoContent {
			panic(text)
		}
	}
	if code, text := send(Shipper, ShipperPassword(password), "POST", "/insert/jsonline", lines.String(), nil); code != 200 {
		panic(text)
	}
	for range 100 {
		if _, text := ask(Admin, password, "/select/logsql/query", url.Values{"query": {"apple"}}); strings.Count(text, "\n") == 2 {
			return m.Run()
		}
		time.Sleep(100 * time.Millisecond)
	}
	panic("what was inserted is not found")
}

func send(name, password, method, path, body string, header http.Header) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, served.URL+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	for key, values := range header {
		request.Header[key] = values
	}
	if name != "" {
		request.SetBasicAuth(name, password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	var text strings.Builder
	// One that follows logs ends with the context.
	buffer := make([]byte, 64*1024)
	for {
		count, err := response.Body.Read(buffer)
		text.Write(buffer[:count])
		if err != nil {
			return response.StatusCode, text.String()
		}
	}
}

func ask(name, password, path string, values url.Values) (int, string) {
	return send(name, password, "GET", path+"?"+values.Encode(), "", nil)
}

func TestATenantReadsItsOwn(t *testing.T) {
	for _, tenant := range []string{"parks", "health"} {
		code, text := ask(tenant+".app", "of "+tenant, "/select/logsql/query", url.Values{"query": {"*"}})
		if code != 200 || strings.Count(text, "\n") != 1 || !strings.Contains(text, "apple of "+tenant) {
			t.Errorf("%s reads %d: %s", tenant, code, text)
		}
	}
}

// Every question that a tenant may ask, with every way to name other logs that the language of queries has.
func TestNoQuestionReachesTheLogsOfAnotherTenant(t *testing.T) {
	queries := []string{
		`*`,
		`tenant:health`,
		`{tenant="health"}`,
		`{tenant="parks"} or {tenant="health"}`,
		`{tenant="parks" or tenant="health"}`,
		`tenant:parks or tenant:health`,
		`!tenant:parks`,
		`* or *`,
		`(*) or (tenant:health)`,
		`options(global_filter=(tenant:health)) *`,
		`options(ignore_global_time_filter=true) *`,
		`word:in(tenant:health | fields word)`,
		`_msg:in(tenant:health | fields _msg) or *`,
		`_stream_id:in(tenant:health | fields _stream_id)`,
		`* | union (tenant:health)`,
		`* | union (* | union (tenant:health))`,
		`* | join by (word) (tenant:health | rename _msg as theirs)`,
		`* | join by (word) (tenant:health | fields word, _msg | rename _msg as theirs) inner`,
		`* | stream_context before 10 after 10`,
		`tenant:health | stream_context before 10 after 10`,
		`* | format if (word:in(tenant:health | fields word)) "<tenant>" as found`,
		`* | stats by (tenant) count() as lines`,
		`* | stats count() if (tenant:health) as lines, values(_msg) as all`,
		`* | uniq by (_msg)`,
		`* | facets`,
		`* | field_names`,
		`* | field_values _msg`,
		`* | first 10 by (_time)`,
		`* | query_stats`,
		`* | running_stats count()`,
		`"); {tenant="health"}`,
		`* }} or {tenant="health"`,
	}
	reaching := 0
	for _, query := range queries {
		if _, text := ask(Admin, password, "/select/logsql/query", url.Values{"query": {query}}); strings.Contains(text, "of health") {
			reaching++
		}
	}
	if reaching < 20 {
		t.Errorf("only %d of the queries reach another tenant's logs where nothing keeps them from it", reaching)
	}
	for path := range readable {
		for _, query := range queries {
			for _, more := range []url.Values{
				{},
				{"extra_filters": {`tenant:health`}},
				{"extra_stream_filters": {`{tenant="health"}`}},
				{"extra_filters": {`{"tenant":"health"}`, `*`}, "extra_stream_filters": {``}},
				{"AccountID": {"0"}, "ProjectID": {"0"}, "field": {"_msg"}, "step": {"1h"}, "start_offset": {"1h"}},
			} {
				if path == "/select/logsql/tail" && (len(more) != 5 || query != `*` && query != `tenant:health`) {
					continue
				}
				values := url.Values{"query": {query}, "field": {"_msg"}, "step": {"1d"}}
				for name, value := range more {
					values[name] = value
				}
				header := http.Header{"Accountid": {"0"}, "Projectid": {"0"}, "Vl-Extra-Filters": {"tenant:health"}}
				methods := []string{"GET"}
				if len(more) == 2 {
					methods = append(methods, "POST")
				}
				for _, method := range methods {
					address, body := path+"?"+values.Encode(), ""
					if method == "POST" {
						address, body = path, values.Encode()
						header.Set("Content-Type", "application/x-www-form-urlencoded")
					}
					code, text := send("parks.app", "of parks", method, address, body, header)
					if strings.Contains(text, "of health") || strings.Contains(text, "health-0") {
						t.Errorf("%s %s %v is answered by %d: %s", method, path, values, code, text)
					}
				}
			}
		}
	}
}

func TestATenantReadsAndDoesNothingElse(t *testing.T) {
	for _, path := range []string{
		"/", "/status", "/accounts", "/shippers", "/insert/jsonline", "/insert/loki/api/v1/push", "/internal/insert",
		"/internal/select/query", "/internal/force_flush", "/internal/partition/list", "/internal/partition/detach?name=x",
		"/delete/run_task?filter=*", "/delete/active_tasks", "/select/tenant_ids", "/select/vmui/", "/select/vmalert/",
		"/metrics", "/flags", "/debug/pprof/", "/select/logsql/../../status", "//status", "/select//logsql/query/",
		"/SELECT/logsql/query", "/select/logsql/query%2f..%2f..%2fstatus",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			if code, text := send("parks.app", "of parks", method, path, "{}", nil); code != http.StatusForbidden {
				t.Errorf("%s %s is answered by %d: %.200s", method, path, code, text)
			}
		}
	}
	if code, _ := send("parks.app", "of parks", "DELETE", "/select/logsql/query?query=*", "", nil); code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE is answered by %d", code)
	}
}

func TestNobodyGetsInWithoutAPassword(t *testing.T) {
	for _, who := range [][2]string{
		{"", ""}, {"parks.app", ""}, {"parks.app", "of health"}, {"nobody", ""}, {Admin, ""}, {Admin, "of parks"},
		{Shipper, ""}, {Shipper, password}, {"", "of parks"},
	} {
		for _, path := range []string{"/status", "/accounts", "/select/logsql/query?query=*", "/insert/jsonline"} {
			if code, _ := send(who[0], who[1], "GET", path, "", nil); code != http.StatusUnauthorized {
				t.Errorf("%v gets %d at %s", who, code, path)
			}
		}
	}
}

func TestALockedAccountIsRefusedAndAnotherOwnersIsLeftAlone(t *testing.T) {
	change := func(action, owner string) int {
		body := fmt.Sprintf(`{"action":%q,"name":"later.app","tenant":"parks","owner":%q,"requests":1,"sha256":%q}`, action, owner, digest("later"))
		code, _ := send(Admin, password, "POST", "/accounts", body, nil)
		return code
	}
	reads := func() int {
		code, _ := ask("later.app", "later", "/select/logsql/query", url.Values{"query": {"*"}})
		return code
	}
	for _, step := range []struct {
		action, owner string
		reads         int
	}{
		{"open", "parks/app/later", 200}, {"lock", "parks/other/later", 200}, {"delete", "parks/other/later", 200},
		{"lock", "parks/app/later", 401}, {"open", "parks/app/later", 200}, {"delete", "parks/app/later", 401},
	} {
		if code := change(step.action, step.owner); code != http.StatusNoContent {
			t.Fatalf("%s is answered by %d", step.action, code)
		}
		if code := reads(); code != step.reads {
			t.Errorf("after %s by %s it reads with %d", step.action, step.owner, code)
		}
	}
	for _, owner := range []string{"", "parks/app", "health/app/later"} {
		if code := change("open", owner); code == http.StatusNoContent {
			t.Errorf("an account of tenant parks is opened for %q", owner)
		}
	}
	body := fmt.Sprintf(`{"action":"open","name":"x","tenant":"parks\"} or {tenant=\"health","owner":"o","requests":1,"sha256":"%s"}`, digest("x"))
	if code, _ := send(Admin, password, "POST", "/accounts", body, nil); code == http.StatusNoContent {
		t.Error("an account of a tenant that is no name is opened")
	}
}

func TestAnAccountOfAnotherOwnerIsNotTakenOver(t *testing.T) {
	open := func(owner, secret string) (int, string) {
		tenant, _, _ := strings.Cut(owner, "/")
		body := fmt.Sprintf(`{"action":"open","name":"taken.app","tenant":%q,"owner":%q,"requests":1,"sha256":%q}`,
			tenant, owner, digest(secret))
		return send(Admin, password, "POST", "/accounts", body, nil)
	}
	if code, text := open("parks/app/taken", "of the first"); code != http.StatusNoContent {
		t.Fatal(code, text)
	}
	for _, owner := range []string{"parks/other/taken", "health/app/taken"} {
		if code, text := open(owner, "of the second"); code != http.StatusConflict || !strings.Contains(text, "another owner") {
			t.Errorf("%s is answered by %d %s", owner, code, text)
		}
	}
	code, text := ask("taken.app", "of the first", "/select/logsql/query", url.Values{"query": {"*"}})
	if code != 200 || !strings.Contains(text, "apple of parks") {
		t.Errorf("the first owner reads with %d: %s", code, text)
	}
	if code, _ := ask("taken.app", "of the second", "/select/logsql/query", url.Values{"query": {"*"}}); code != http.StatusUnauthorized {
		t.Errorf("the second owner reads with %d", code)
	}
}

func TestAnAccountHasNoMoreRequestsAtATimeThanItMay(t *testing.T) {
	follow := "/select/logsql/tail?query=*"
	ended := make(chan int, 2)
	for range 2 {
		go func() {
			code, _ := send("parks.app", "of parks", "GET", follow, "", nil)
			ended <- code
		}()
	}
	time.Sleep(500 * time.Millisecond)
	if code, _ := ask("parks.app", "of parks", "/select/logsql/query", url.Values{"query": {"*"}}); code != http.StatusTooManyRequests {
		t.Errorf("a third one is answered by %d", code)
	}
	if code, _ := ask("health.app", "of health", "/select/logsql/query", url.Values{"query": {"*"}}); code != 200 {
		t.Errorf("that of another tenant is answered by %d", code)
	}
	<-ended
	<-ended
}

func TestAShipperOfAnotherInstanceIsToldSo(t *testing.T) {
	header := http.Header{InstanceHeader: {"another"}}
	if code, _ := send(Shipper, ShipperPassword(password), "POST", "/insert/jsonline", "", header); code != http.StatusPreconditionFailed {
		t.Errorf("it is answered by %d", code)
	}
}

func TestTheStatusSaysWhatIsKept(t *testing.T) {
	report := `{"node":"one","containers":3,"dropped_lines":5}`
	if code, text := send(Shipper, ShipperPassword(password), "POST", "/shippers", report, nil); code != http.StatusNoContent {
		t.Fatal(text)
	}
	_, text := send(Admin, password, "GET", "/status", "", nil)
	for _, wanted := range []string{
		`"retention_days":30`, `"read_only":false`, `"node":"one"`, `"dropped_lines":5`,
		`"days":["` + time.Now().UTC().Add(-time.Minute).Format("20060102") + `"]`,
	} {
		if !strings.Contains(text, wanted) {
			t.Errorf("%s is not in %s", wanted, text)
		}
	}
	if strings.Contains(text, `"oldest":0,`) || strings.Contains(text, `"began":0,`) {
		t.Error(text)
	}
}

func TestFiguresSayWhatWasHeardOfShippers(t *testing.T) {
	heard := &shippers{known: map[string]Report{}}
	if text := heard.figures(time.Now().Unix()); strings.Contains(text, "{") {
		t.Error(text)
	}
	heard.heard(Report{Node: "one", Behind: 7, DroppedLines: 5, Gaps: 2})
	text := heard.figures(heard.list()[0].Heard + 90)
	for _, wanted := range []string{"silent_seconds{node=\"one\"} 90", "behind_seconds{node=\"one\"} 7",
		"dropped_lines_total{node=\"one\"} 5", "gaps_total{node=\"one\"} 2"} {
		if !strings.Contains(text, "\nwecity_log_shipper_"+wanted+"\n") {
			t.Errorf("%s is not in %s", wanted, text)
		}
	}
	page := httptest.NewRecorder()
	figuresPage(t.TempDir(), heard).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for _, wanted := range []string{"wecity_volume_bytes_size ", `wecity_log_shipper_behind_seconds{node="one"} 7`} {
		if !strings.Contains(page.Body.String(), wanted) {
			t.Errorf("%s is not on the page", wanted)
		}
	}
}

func TestAClientHasNoMoreConnectionsThanItMay(t *testing.T) {
	listener, err := listen(settings{}, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: served.Config.Handler}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	var opened []net.Conn
	for range clientConnections + 1 {
		made, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer made.Close()
		opened = append(opened, made)
		if !healthy(made) {
			t.Fatal("a new connection is not answered")
		}
	}
	if healthy(opened[0]) || !healthy(opened[1]) {
		t.Error("the oldest connection of a client with too many is kept, or another one is not")
	}
}

func healthy(made net.Conn) bool {
	_ = made.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := made.Write([]byte("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		return false
	}
	count, err := made.Read(make([]byte, 4096))
	return err == nil && count > 0
}
