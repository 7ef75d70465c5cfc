package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func known(t *testing.T, of kind, texts ...string) *store {
	t.Helper()
	made := newStore()
	for _, each := range counted {
		made.replace(each, "health-internet", nil)
	}
	for _, text := range texts {
		var item object
		if err := json.Unmarshal([]byte(text), &item); err != nil {
			t.Fatal(err)
		}
		made.change(of, "health-internet", "ADDED", item)
	}
	return made
}

var health = map[string]map[string]string{"health-internet": {"tenant": "health"}}

func has(t *testing.T, text, name string, lines ...string) {
	t.Helper()
	found := map[string]bool{}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, name) {
			found[line] = true
		}
	}
	for _, line := range lines {
		if !found[line] {
			t.Errorf("%s\nis not in\n%s", line, text)
		}
	}
	if len(found) != len(lines) {
		t.Errorf("%d lines, not %d:\n%s", len(found), len(lines), text)
	}
}

func TestWhatRunsIsSummedUpByComponent(t *testing.T) {
	pod := func(name, phase, more string) string {
		return `{"metadata": {"name": "` + name + `", "labels": {"app.kubernetes.io/name": "code",
			"app.kubernetes.io/component": "web"}}, "status": {"phase": "` + phase + `"}, "spec": {"containers": [
			{"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}}},
			{"name": "b", "resources": {"requests": {"cpu": "50m"}}}]` + more + `}}`
	}
	pods := counted[0]
	text := string(renderUsage(known(t, pods,
		pod("one", "Running", ""),
		pod("two", "Running", `, "initContainers": [
			{"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "1"}}},
			{"name": "once", "resources": {"requests": {"cpu": "200m"}}}], "overhead": {"cpu": "5m"}`),
		pod("waits", "Pending", ""), pod("done", "Succeeded", "")), health))
	whose := `namespace="health-internet",tenant="health",app="code",component="web"} `
	has(t, text, usageSeries,
		// Of the second pod 10m and 200m during its initialisation, and the overhead.
		`wecity_usage{of="requests",resource="cpu",`+whose+"0.365",
		`wecity_usage{of="requests",resource="memory",`+whose+"134217728",
		`wecity_usage{of="limits",resource="cpu",`+whose+"3",
		`wecity_usage{of="pods",resource="pods",`+whose+"2",
	)
	has(t, text, observedSeries, `wecity_observed{namespace="health-internet",tenant="health"} 1`)
}

func TestAPodOnADeadNodeIsNotCountedBesideTheOneInItsPlace(t *testing.T) {
	pod := func(name, more string) string {
		return `{"metadata": {"name": "` + name + `"` + more + `}, "status": {"phase": "Running"}, "spec": {}}`
	}
	deleted := func(ago time.Duration) string {
		return `, "deletionTimestamp": "` + time.Now().Add(-ago).UTC().Format(time.RFC3339) + `"`
	}
	// The last two are ending: their time is not over, or has been for a moment.
	text := string(renderUsage(known(t, counted[0],
		pod("lost", deleted(time.Hour)), pod("new", ""), pod("ends", deleted(-time.Minute)), pod("ended", deleted(time.Minute)),
	), health))
	has(t, text, usageSeries, `wecity_usage{of="pods",resource="pods",namespace="health-internet",tenant="health"} 3`)
}

func TestPodLevelResourcesReplaceThoseOfContainers(t *testing.T) {
	text := string(renderUsage(known(t, counted[0], `{"metadata": {"name": "one"}, "status": {"phase": "Running"},
		"spec": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "4"}}, "containers": [
		{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}}}, {"resources": {"limits": {"cpu": "3"}}}]}}`), health))
	whose := `resource="cpu",namespace="health-internet",tenant="health"} `
	has(t, text, usageSeries, `wecity_usage{of="requests",`+whose+"2", `wecity_usage{of="limits",`+whose+"4",
		`wecity_usage{of="pods",resource="pods",namespace="health-internet",tenant="health"} 1`)
}

func TestVolumesHaveTheSizeThatTheyGot(t *testing.T) {
	claim := func(name, phase, capacity string) string {
		return `{"metadata": {"name": "` + name + `"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}},
			"status": {"phase": "` + phase + `"` + capacity + `}}`
	}
	text := string(renderUsage(known(t, counted[1], claim("a", "Bound", `, "capacity": {"storage": "2Gi"}`),
		claim("b", "Bound", ""), claim("c", "Pending", "")), health))
	has(t, text, usageSeries,
		`wecity_usage{of="volumes",resource="storage",namespace="health-internet",tenant="health"} 3221225472`)
}

func TestANamespaceThatCannotBeListedIsNotObserved(t *testing.T) {
	made := known(t, counted[0], `{"metadata": {"name": "one"}, "status": {"phase": "Running"}, "spec": {}}`)
	made.forget(counted[1], "health-internet")
	if text := string(renderUsage(made, health)); text != "" {
		t.Error(text)
	}
}

func TestJobsThatWorkOnACapabilityCountForIt(t *testing.T) {
	pod := func(name, named, component, more string) string {
		return `{"metadata": {"name": "` + name + `", "labels": {"app.kubernetes.io/name": "` + named + `",
			"app.kubernetes.io/component": "` + component + `"` + more + `}}, "status": {"phase": "Running"}, "spec": {}}`
	}
	made := newStore()
	made.replace(counted[1], "application", nil)
	made.replace(counted[0], "application", nil)
	works := `, "wecity.dev/provisions": "postgresql"`
	for _, text := range []string{
		pod("server", "postgresql", "postgresql", ""), pod("backup", "postgresql", "backup", works),
		pod("makes-an-account", "code", "app", works), pod("gateway", "gateway", "gateway", ""),
	} {
		var item object
		if err := json.Unmarshal([]byte(text), &item); err != nil {
			t.Fatal(err)
		}
		made.change(counted[0], "application", "ADDED", item)
	}
	whose := `wecity_usage{of="pods",resource="pods",namespace="application",platform="application",capability="`
	has(t, string(renderUsage(made, map[string]map[string]string{"application": {"platform": "application"}})), usageSeries,
		whose+`gateway",component="gateway"} 1`,
		whose+`postgresql",component="postgresql"} 1`,
		whose+`postgresql",component="backup"} 1`,
		whose+`postgresql",component="app"} 1`,
	)
	// In a tenant's namespace its own label is no more than a label.
	text := string(renderUsage(known(t, counted[0], pod("one", "code", "web", works)), health))
	if !strings.Contains(text, `app="code",component="web"} 1`) || strings.Contains(text, "postgresql") {
		t.Error(text)
	}
}
