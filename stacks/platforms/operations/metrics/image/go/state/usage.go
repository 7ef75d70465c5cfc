package main

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	observedSeries = "wecity_observed"
	usageSeries    = "wecity_usage"
)

// counted are the kinds that usage is counted from: a namespace is observed while the objects of all of them are known.
var counted = []kind{{"api/v1", "pods"}, {"api/v1", "persistentvolumeclaims"}}

type amounts map[string]float64

func (a amounts) add(more map[string]quantity) {
	for resource, value := range more {
		a[resource] += float64(value)
	}
}

func (a amounts) raiseTo(least amounts) {
	for resource, value := range least {
		a[resource] = max(a[resource], value)
	}
}

// requests are what the scheduler keeps free for a pod, as `PodRequests` of k8s.io/component-helpers/resource has it:
// the sum over containers and sidecars or, if that is more, what the pod has asked for while it was initialised.
func (o object) requests() amounts {
	wanted, sidecars, largest := amounts{}, amounts{}, amounts{}
	for _, each := range o.Spec.Containers {
		wanted.add(each.Resources.Requests)
	}
	for _, each := range o.Spec.InitContainers {
		if each.RestartPolicy == "Always" {
			wanted.add(each.Resources.Requests)
			sidecars.add(each.Resources.Requests)
			continue
		}
		moment := maps.Clone(sidecars)
		moment.add(each.Resources.Requests)
		largest.raiseTo(moment)
	}
	wanted.raiseTo(largest)
	for resource, value := range o.Spec.Resources.Requests {
		wanted[resource] = float64(value)
	}
	wanted.add(o.Spec.Overhead)
	return wanted
}

// limits are the sum over containers and sidecars that have some, unless the pod has one of its own.
func (o object) limits() amounts {
	found := amounts{}
	for _, each := range o.Spec.Containers {
		found.add(each.Resources.Limits)
	}
	for _, each := range o.Spec.InitContainers {
		if each.RestartPolicy == "Always" {
			found.add(each.Resources.Limits)
		}
	}
	for resource, value := range o.Spec.Resources.Limits {
		found[resource] = float64(value)
	}
	return found
}

// stored is the size of a volume, which a claim has once it is bound.
func (o object) stored() amounts {
	if o.Status.Phase != "Bound" {
		return nil
	}
	if size, ok := o.Status.Capacity["storage"]; ok {
		return amounts{"storage": float64(size)}
	}
	return amounts{"storage": float64(o.Spec.Resources.Requests["storage"])}
}

// How long after its end a pod may still be told as running; clocks differ.
const lostAfter = 5 * time.Minute

// isLost is whether a pod has to have ended long ago. On a dead node nobody says that it has, and another one has taken
// its place.
func (o object) isLost(now time.Time) bool {
	return o.Metadata.DeletionTimestamp != nil && now.Sub(*o.Metadata.DeletionTimestamp) > lostAfter
}

// renderUsage gives what bills are made from: of each namespace that is observed, what the pods that run request and may
// use at the most, their number, and the size of the volumes, summed up by whose they are. They are few, as they are kept
// for a long time.
func renderUsage(known *store, owners map[string]map[string]string) []byte {
	known.mutex.Lock()
	defer known.mutex.Unlock()
	result, now := page{}, time.Now()
	for namespace, owner := range owners {
		if slices.ContainsFunc(counted, func(of kind) bool { return known.objects[of.key()][namespace] == nil }) {
			continue
		}
		result.add(observedSeries, 1, append([]string{"namespace", namespace}, flat(owner)...)...)
		// By what is counted, the resource and the labels, which have no such byte.
		sums := map[string]float64{}
		labels := map[string][]string{}
		sum := func(item object, what string, found amounts) {
			for resource, value := range found {
				own := append([]string{"of", what, "resource", resource}, of(item, namespace, owner)...)
				key := strings.Join(own, "\x00")
				sums[key] += value
				labels[key] = own
			}
		}
		for _, item := range known.objects["pods"][namespace] {
			if item.Status.Phase == "Running" && !item.isLost(now) {
				sum(item, "requests", item.requests())
				sum(item, "limits", item.limits())
				sum(item, "pods", amounts{"pods": 1})
			}
		}
		for _, item := range known.objects["persistentvolumeclaims"][namespace] {
			sum(item, "volumes", item.stored())
		}
		for _, key := range slices.Sorted(maps.Keys(sums)) {
			// The last digits of a sum depend on its order: a value that stays the same takes no room.
			result.add(usageSeries, math.Round(sums[key]*1e6)/1e6, labels[key]...)
		}
	}
	return result.text()
}
