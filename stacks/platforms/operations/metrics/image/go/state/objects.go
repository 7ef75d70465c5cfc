package main

import (
	"math"
	"strconv"
	"strings"
	"time"
)

type metadata struct {
	Name              string
	Labels            map[string]string
	CreationTimestamp *time.Time
	OwnerReferences   []struct{ Kind, Name string }
	// When a pod that is being deleted has to have ended.
	DeletionTimestamp *time.Time
	// The other annotations are not kept.
	Annotations struct {
		CertificateEnds string `json:"wecity.dev/certificate-ends"`
	}
}

type template struct{ Metadata metadata }

// What is read of an object, of any kind: the rest is not kept.
type object struct {
	Metadata metadata
	Spec     struct {
		Template                   template
		JobTemplate                struct{ Spec struct{ Template template } }
		Replicas                   *float64
		Suspend                    bool
		Containers, InitContainers []container
		Overhead                   map[string]quantity
		Resources                  struct{ Requests, Limits map[string]quantity }
	}
	Status struct {
		Phase                 string
		AvailableReplicas     float64
		ReadyReplicas         float64
		Conditions            []struct{ Type, Status string }
		ContainerStatuses     []containerStatus
		InitContainerStatuses []containerStatus
		Hard, Used            map[string]quantity
		Allocatable           map[string]quantity
		Capacity              map[string]quantity
		LastScheduleTime      *time.Time
		LastSuccessfulTime    *time.Time
	}
	Containers []struct {
		Name  string
		Usage map[string]quantity
	}
}

type container struct {
	Name          string
	RestartPolicy string
	Resources     struct{ Requests, Limits map[string]quantity }
}

type containerStatus struct {
	Name         string
	RestartCount float64
	State        struct{ Waiting *struct{ Reason string } }
}

type list struct {
	Metadata struct{ ResourceVersion, Continue string }
	Items    []object
}

// labels are those of the object's pods, where it has some: an app's workloads are labelled as the app, their pods as the
// component.
func (o object) labels() map[string]string {
	for _, found := range []template{o.Spec.Template, o.Spec.JobTemplate.Spec.Template} {
		if len(found.Metadata.Labels) != 0 {
			return found.Metadata.Labels
		}
	}
	return o.Metadata.Labels
}

// schedule is the name of the CronJob that made a Job; empty for others.
func (o object) schedule() string {
	for _, item := range o.Metadata.OwnerReferences {
		if item.Kind == "CronJob" {
			return item.Name
		}
	}
	return ""
}

func (o object) condition(name string) bool {
	for _, item := range o.Status.Conditions {
		if item.Type == name {
			return item.Status == "True"
		}
	}
	return false
}

// quantity is one of Kubernetes, as a number of its base unit. It is NaN for a text that is none.
type quantity float64

var suffixes = map[string]float64{
	"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60,
}

func (q *quantity) UnmarshalJSON(raw []byte) error {
	text := strings.Trim(string(raw), `"`)
	*q = quantity(math.NaN())
	if number, err := strconv.ParseFloat(text, 64); err == nil {
		*q = quantity(number)
		return nil
	}
	digits := strings.TrimRight(text, "numkKMGTPEi")
	factor, ok := suffixes[text[len(digits):]]
	if number, err := strconv.ParseFloat(digits, 64); err == nil && ok {
		*q = quantity(number * factor)
	}
	return nil
}
