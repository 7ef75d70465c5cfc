package main

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	nameLabel      = "app.kubernetes.io/name"
	componentLabel = "app.kubernetes.io/component"
	// Of the Jobs that work on a capability: its name.
	worksOnLabel = "wecity.dev/provisions"
	// A list of objects that has been read before, and cannot be.
	unreadSeries = "wecity_unread"
)

// page collects samples by the name of their metric, as the text format wants them together.
type page map[string]*bytes.Buffer

func (p page) add(name string, value float64, labels ...string) {
	if math.IsNaN(value) {
		return
	}
	buffer := p[name]
	if buffer == nil {
		buffer = &bytes.Buffer{}
		p[name] = buffer
	}
	buffer.WriteString(name)
	mark := byte('{')
	for i := 0; i+1 < len(labels); i += 2 {
		if labels[i+1] == "" {
			continue
		}
		buffer.WriteByte(mark)
		buffer.WriteString(labels[i] + `="` + escape.Replace(labels[i+1]) + `"`)
		mark = ','
	}
	if mark == ',' {
		buffer.WriteByte('}')
	}
	buffer.WriteByte(' ')
	buffer.WriteString(strconv.FormatFloat(value, 'f', -1, 64))
	buffer.WriteByte('\n')
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// of gives whose an object is. The owner of the namespace decides what the name is the name of.
func of(item object, namespace string, owner map[string]string) []string {
	found := append([]string{"namespace", namespace}, flat(owner)...)
	labels := item.labels()
	name, value := "app", labels[nameLabel]
	if owner["platform"] != "" {
		name = "capability"
		// A Job that makes an account for an app has the app's name, beside the capability.
		if on := labels[worksOnLabel]; on != "" {
			value = on
		}
	}
	return append(found, name, value, "component", labels[componentLabel])
}

// flat gives names and values of labels one after the other, sorted by name.
func flat(labels map[string]string) []string {
	var found []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		found = append(found, key, labels[key])
	}
	return found
}

func render(known *store, owners map[string]map[string]string) []byte {
	known.mutex.Lock()
	defer known.mutex.Unlock()
	result := page{}
	for key, namespaces := range known.objects {
		for namespace, items := range namespaces {
			for _, item := range items {
				if key == usage.key() {
					// Sources differ in the labels that they give; the pod has its own.
					item.Metadata.Labels = known.objects["pods"][namespace][item.Metadata.Name].Metadata.Labels
				}
				labels := of(item, namespace, owners[namespace])
				if key == nodes.resource {
					labels = nil
				}
				result.object(key, item, func(own ...string) []string { return slices.Concat(own, labels) })
			}
		}
	}
	// What is not told is no news that all is well.
	for _, list := range known.unread() {
		own := []string{"resource", list.resource, "namespace", list.namespace}
		result.add(unreadSeries, 1, append(own, flat(owners[list.namespace])...)...)
	}
	return result.text()
}

func (p page) text() []byte {
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(p)) {
		kind := "gauge"
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		text.WriteString("# TYPE " + name + " " + kind + "\n")
		text.Write(p[name].Bytes())
	}
	return text.Bytes()
}

func (p page) object(key string, item object, with func(...string) []string) {
	name := item.Metadata.Name
	wanted := 1.0
	if item.Spec.Replicas != nil {
		wanted = *item.Spec.Replicas
	}
	switch key {
	case "deployments":
		p.add("kube_deployment_spec_replicas", wanted, with("deployment", name)...)
		p.add("kube_deployment_status_replicas_available", item.Status.AvailableReplicas, with("deployment", name)...)
	case "statefulsets":
		p.add("kube_statefulset_replicas", wanted, with("statefulset", name)...)
		p.add("kube_statefulset_status_replicas_ready", item.Status.ReadyReplicas, with("statefulset", name)...)
	case "pods":
		p.pod(item, with)
	case "usage":
		for _, container := range item.Containers {
			for resource, value := range container.Usage {
				own := with("pod", name, "container", container.Name, "resource", resource)
				p.add("wecity_container_usage", float64(value), own...)
			}
		}
	case "jobs":
		p.add("kube_job_failed", number(item.condition("Failed")), with("job_name", name)...)
		p.add("kube_job_complete", number(item.condition("Complete")), with("job_name", name)...)
		p.time("kube_job_created", item.Metadata.CreationTimestamp, with("job_name", name, "cronjob", item.schedule()))
	case "cronjobs":
		p.add("kube_cronjob_spec_suspend", number(item.Spec.Suspend), with("cronjob", name)...)
		p.time("kube_cronjob_created", item.Metadata.CreationTimestamp, with("cronjob", name))
		p.time("kube_cronjob_status_last_schedule_time", item.Status.LastScheduleTime, with("cronjob", name))
		p.time("kube_cronjob_status_last_successful_time", item.Status.LastSuccessfulTime, with("cronjob", name))
	case "resourcequotas":
		for kind, values := range map[string]map[string]quantity{"hard": item.Status.Hard, "used": item.Status.Used} {
			for resource, value := range values {
				own := with("resourcequota", name, "resource", resource, "type", kind)
				p.add("kube_resourcequota", float64(value), own...)
			}
		}
	case "persistentvolumeclaims":
		own := with("persistentvolumeclaim", name, "phase", item.Status.Phase)
		p.add("kube_persistentvolumeclaim_status_phase", 1, own...)
		asked := float64(item.Spec.Resources.Requests["storage"])
		own = with("persistentvolumeclaim", name)
		p.add("kube_persistentvolumeclaim_resource_requests_storage_bytes", asked, own...)
	case "services":
		// Written beside the certificate: to read dates from Secrets would be to read the keys too.
		if ends, err := time.Parse(time.RFC3339, item.Metadata.Annotations.CertificateEnds); err == nil {
			p.time("wecity_certificate_end_time_seconds", &ends, with("service", name))
		}
	case "nodes":
		for _, each := range item.Status.Conditions {
			own := with("node", name, "condition", each.Type)
			p.add("kube_node_status_condition", number(each.Status == "True"), own...)
		}
		for resource, value := range item.Status.Allocatable {
			p.add("kube_node_status_allocatable", float64(value), with("node", name, "resource", resource)...)
		}
	}
}

func (p page) time(name string, value *time.Time, labels []string) {
	if value != nil {
		p.add(name, float64(value.Unix()), labels...)
	}
}

func (p page) pod(item object, with func(...string) []string) {
	name := item.Metadata.Name
	p.add("kube_pod_status_phase", 1, with("pod", name, "phase", item.Status.Phase)...)
	p.add("kube_pod_status_ready", number(item.condition("Ready")), with("pod", name)...)
	for kind, statuses := range map[string][]containerStatus{
		"kube_pod_container_status_":      item.Status.ContainerStatuses,
		"kube_pod_init_container_status_": item.Status.InitContainerStatuses,
	} {
		for _, each := range statuses {
			own := with("pod", name, "container", each.Name)
			p.add(kind+"restarts_total", each.RestartCount, own...)
			if waiting := each.State.Waiting; waiting != nil {
				own = with("pod", name, "container", each.Name, "reason", waiting.Reason)
				p.add(kind+"waiting_reason", 1, own...)
			}
		}
	}
	for _, each := range item.Spec.Containers {
		for resource, value := range each.Resources.Requests {
			own := with("pod", name, "container", each.Name, "resource", resource)
			p.add("kube_pod_container_resource_requests", float64(value), own...)
		}
		for resource, value := range each.Resources.Limits {
			own := with("pod", name, "container", each.Name, "resource", resource)
			p.add("kube_pod_container_resource_limits", float64(value), own...)
		}
	}
}
