package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestMessagesThatWereNotTakenAreTold(t *testing.T) {
	manager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, `# HELP alertmanager_notifications_failed_total The total number of failed notifications.
# TYPE alertmanager_notifications_failed_total counter
alertmanager_notifications_failed_total{integration="webhook",reason="serverError",receiver_name="tenant/parks"} 3
# TYPE go_goroutines gauge
go_goroutines 30
`)
	}))
	defer manager.Close()
	ask := func() (int, string) {
		answer := httptest.NewRecorder()
		figuresPage(manager.URL).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		return answer.Code, answer.Body.String()
	}
	wanted := `# TYPE alertmanager_notifications_failed_total counter
alertmanager_notifications_failed_total{integration="webhook",reason="serverError",receiver_name="tenant/parks"} 3
`
	if code, text := ask(); code != 200 || text != wanted {
		t.Errorf("%d %s", code, text)
	}
	other := httptest.NewRecorder()
	figuresPage(manager.URL).ServeHTTP(other, httptest.NewRequest("GET", "/api/v2/alerts", nil))
	if other.Code != 404 {
		t.Errorf("another page is answered by %d", other.Code)
	}
	// Nothing known is told by nothing served.
	manager.Close()
	if code, text := ask(); code != 502 {
		t.Errorf("without Alertmanager: %d %s", code, text)
	}
}
