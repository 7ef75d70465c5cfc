package main

import (
	"encoding/json"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
)

func TestQuantities(t *testing.T) {
	for text, wanted := range map[string]float64{
		`"100m"`: 0.1, `"2"`: 2, `"1Gi"`: 1 << 30, `"12345n"`: 12345e-9, `"1e3"`: 1000, `"5k"`: 5000, `3`: 3,
	} {
		var found quantity
		if err := json.Unmarshal([]byte(text), &found); err != nil || math.Abs(float64(found)-wanted) > 1e-9 {
			t.Errorf("%s is %v, not %v", text, found, wanted)
		}
	}
	var found quantity
	if err := json.Unmarshal([]byte(`"much"`), &found); err != nil || !math.IsNaN(float64(found)) {
		t.Errorf("%v %v", found, err)
	}
}

func TestTheNamespaceSaysWhoseAnObjectIs(t *testing.T) {
	known := newStore()
	put := func(of kind, namespace, text string) {
		var item object
		if err := json.Unmarshal([]byte(text), &item); err != nil {
			t.Fatal(err)
		}
		known.replace(of, namespace, nil)
		known.change(of, namespace, "ADDED", item)
	}
	put(namespaced[3], "health-internet", `{"metadata": {"name": "code-web", "labels": {"app.kubernetes.io/name": "code",
		"app.kubernetes.io/component": "app", "wecity.dev/tenant": "transport"}},
		"spec": {"replicas": 2, "template": {"metadata": {"labels": {"app.kubernetes.io/name": "code",
		"app.kubernetes.io/component": "web"}}}}, "status": {"availableReplicas": 1}}`)
	put(namespaced[0], "platform-data", `{"metadata": {"name": "db-0", "labels": {"app.kubernetes.io/name": "db"}},
		"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
		"containerStatuses": [{"name": "a\"b", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}`)
	put(usage, "platform-data", `{"metadata": {"name": "db-0"}, "containers": [{"name": "c", "usage": {"cpu": "250m"}}]}`)
	put(namespaced[6], "platform-data", `{"metadata": {"name": "db-backup", "creationTimestamp": "1970-01-01T00:01:40Z"},
		"spec": {"suspend": true, "jobTemplate": {"spec": {"template": {"metadata": {"labels": {
		"app.kubernetes.io/name": "db", "app.kubernetes.io/component": "backup"}}}}}}}`)
	put(namespaced[7], "platform-data", `{"metadata": {"name": "db", "labels": {"app.kubernetes.io/name": "db"},
		"annotations": {"other": "x", "wecity.dev/certificate-ends": "1970-01-02T00:00:00Z"}}}`)
	put(namespaced[7], "health-internet", `{"metadata": {"name": "odd",
		"annotations": {"wecity.dev/certificate-ends": ""}}}`)
	owners := map[string]map[string]string{
		"health-internet": {"tenant": "health"}, "platform-data": {"platform": "data"},
	}
	text := string(render(known, owners))
	whose := `namespace="health-internet",tenant="health",app="code",component="web"`
	for _, line := range []string{
		`kube_deployment_spec_replicas{deployment="code-web",` + whose + `} 2`,
		`kube_deployment_status_replicas_available{deployment="code-web",` + whose + `} 1`,
		`kube_pod_container_status_restarts_total{pod="db-0",container="a\"b",` +
			`namespace="platform-data",platform="data",capability="db"} 3`,
		`kube_pod_status_ready{pod="db-0",namespace="platform-data",platform="data",capability="db"} 1`,
		`wecity_container_usage{pod="db-0",container="c",resource="cpu",namespace="platform-data",` +
			`platform="data",capability="db"} 0.25`,
		`kube_cronjob_created{cronjob="db-backup",namespace="platform-data",platform="data",capability="db",` +
			`component="backup"} 100`,
		`wecity_certificate_end_time_seconds{service="db",namespace="platform-data",platform="data",capability="db"} 86400`,
		"# TYPE kube_pod_container_status_restarts_total counter",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s\nis not in\n%s", line, text)
		}
	}
	if strings.Contains(text, "odd") {
		t.Error(text)
	}
	known.change(namespaced[3], "health-internet", "DELETED", known.objects["deployments"]["health-internet"]["code-web"])
	if text = string(render(known, owners)); strings.Contains(text, "health") {
		t.Error(text)
	}
}

func TestWhatInitialisesAPodIsSeen(t *testing.T) {
	text := string(render(known(t, counted[0], `{"metadata": {"name": "one"}, "status": {"phase": "Pending",
		"initContainerStatuses": [{"name": "makes", "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
		"containerStatuses": [{"name": "web", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}]}}`),
		health))
	whose := `namespace="health-internet",tenant="health"} `
	has(t, text, "kube_pod_init_container_status_restarts_total",
		`kube_pod_init_container_status_restarts_total{pod="one",container="makes",`+whose+"4")
	has(t, text, "kube_pod_init_container_status_waiting_reason",
		`kube_pod_init_container_status_waiting_reason{pod="one",container="makes",reason="CrashLoopBackOff",`+whose+"1")
	has(t, text, "kube_pod_container_status_restarts_total",
		`kube_pod_container_status_restarts_total{pod="one",container="web",`+whose+"0")
}

func TestAJobSaysOfWhichScheduleItIs(t *testing.T) {
	made := newStore()
	jobs := kind{"apis/batch/v1", "jobs"}
	made.replace(jobs, "health-internet", nil)
	for _, text := range []string{
		`{"metadata": {"name": "nightly-1", "creationTimestamp": "1970-01-01T00:01:40Z",
			"ownerReferences": [{"kind": "CronJob", "name": "nightly"}]}}`,
		`{"metadata": {"name": "release", "creationTimestamp": "1970-01-01T00:01:40Z"}}`,
	} {
		var item object
		if err := json.Unmarshal([]byte(text), &item); err != nil {
			t.Fatal(err)
		}
		made.change(jobs, "health-internet", "ADDED", item)
	}
	whose := `namespace="health-internet",tenant="health"} 100`
	has(t, string(render(made, health)), "kube_job_created",
		`kube_job_created{job_name="nightly-1",cronjob="nightly",`+whose, `kube_job_created{job_name="release",`+whose)
}

func TestAListIsReadObjectByObject(t *testing.T) {
	const count = 64
	item := `{"metadata": {"name": "a", "annotations": {"x": "` + strings.Repeat("x", 1<<20) +
		`"}}, "status": {"phase": "Running"}}`
	parts := []io.Reader{strings.NewReader(
		`{"kind": "PodList", "metadata": {"resourceVersion": "7", "continue": "c"}, "items": [`,
	)}
	for i := range count {
		if i > 0 {
			parts = append(parts, strings.NewReader(","))
		}
		parts = append(parts, strings.NewReader(item))
	}
	parts = append(parts, strings.NewReader("]}"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	found, err := decodeList(io.MultiReader(parts...))
	runtime.ReadMemStats(&after)
	if err != nil || len(found.Items) != count || found.Items[count-1].Status.Phase != "Running" {
		t.Fatal(err, len(found.Items))
	}
	if found.Metadata.ResourceVersion != "7" || found.Metadata.Continue != "c" {
		t.Error(found.Metadata)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d bytes are allocated for one object of 1 MiB after the other", used)
	}
}

func TestAnAnswerThatIsNoListIsAnError(t *testing.T) {
	for _, text := range []string{``, `[]`, `{"items": {}}`, `{"items": [{"metadata": {"name": "a"}}`, `{"items": [1]}`} {
		if found, err := decodeList(strings.NewReader(text)); err == nil {
			t.Errorf("%s is read as %v", text, found)
		}
	}
	for _, text := range []string{`{}`, `{"items": null}`, `{"items": []}`} {
		if found, err := decodeList(strings.NewReader(text)); err != nil || len(found.Items) != 0 {
			t.Errorf("%s: %v %v", text, found, err)
		}
	}
}
