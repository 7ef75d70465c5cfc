package main

import "fmt"

// check refuses a process whose steps do not fit together, and one that would work without an end: between two tasks an
// instance goes forward only, and into so many branches at most.
func (p *process) check() error {
	at := map[string]*node{}
	starts := 0
	for index := range p.nodes {
		item := &p.nodes[index]
		if at[item.id] != nil || item.id == p.key {
			return fault{item.at, fmt.Sprintf("the id %s is there twice", item.id)}
		}
		at[item.id] = item
		if item.kind == "startEvent" {
			starts++
		}
	}
	if starts != 1 {
		return fault{place{1, 1}, fmt.Sprintf("process %s has %d start events, and has to have one", p.key, starts)}
	}
	flows := map[string]flow{}
	for _, item := range p.flows {
		_, twice := flows[item.id]
		if twice || at[item.id] != nil || item.id == p.key {
			return fault{item.at, fmt.Sprintf("the id %s is there twice", item.id)}
		}
		flows[item.id] = item
		from, to := at[item.from], at[item.to]
		if from == nil || to == nil {
			return fault{item.at, fmt.Sprintf("flow %s leads from %q to %q, and one of them is not there", item.id, item.from, item.to)}
		}
		if to.kind == "startEvent" || to.kind == "boundaryEvent" || from.kind == "endEvent" {
			return fault{item.at, fmt.Sprintf("flow %s may not lead from %s to %s", item.id, item.from, item.to)}
		}
		if item.expect != "" && from.kind == "parallelGateway" {
			return fault{item.at, "a parallel gateway has no conditions"}
		}
	}
	for _, item := range p.nodes {
		if task := at[item.attached]; item.kind == "boundaryEvent" && (task == nil || task.kind != "userTask") {
			return fault{item.at, fmt.Sprintf("event %s is attached to %q, which is no user task", item.id, item.attached)}
		}
		if item.fallback != "" && flows[item.fallback].from != item.id {
			return fault{item.at, fmt.Sprintf("the default flow %s does not begin at %s", item.fallback, item.id)}
		}
	}
	return p.bound(at)
}

// bound walks from the start, and from every task that was completed, to the next tasks. Timers pass by themselves: from a
// task that is reached the walk goes on at the timers attached to it.
func (p *process) bound(at map[string]*node) error {
	next, incoming := map[string][]string{}, map[string]int{}
	for _, item := range p.flows {
		next[item.from] = append(next[item.from], item.to)
		incoming[item.to]++
	}
	attached := map[string][]string{}
	for _, item := range p.nodes {
		if item.kind == "boundaryEvent" {
			attached[item.attached] = append(attached[item.attached], item.id)
		}
	}
	onward := func(id string) []string {
		if at[id].kind == "userTask" {
			return attached[id]
		}
		return next[id]
	}
	// The order in which no step comes before one that leads to it; there is none where steps lead back to themselves.
	const begun, done = 1, 2
	state := map[string]int{}
	var order []string
	var walk func(id string) error
	walk = func(id string) error {
		state[id] = begun
		for _, to := range onward(id) {
			switch state[to] {
			case begun:
				return fault{at[to].at, fmt.Sprintf("step %s leads back to itself with no task between: a circle has to have a user task that somebody completes", to)}
			case 0:
				if err := walk(to); err != nil {
					return err
				}
			}
		}
		state[id] = done
		order = append(order, id)
		return nil
	}
	for _, item := range p.nodes {
		if state[item.id] == 0 {
			if err := walk(item.id); err != nil {
				return err
			}
		}
	}
	for _, item := range p.nodes {
		if item.kind != "startEvent" && item.kind != "userTask" {
			continue
		}
		// How many branches arrive at each step, if every condition holds.
		arrive := map[string]int{}
		for _, to := range next[item.id] {
			arrive[to]++
		}
		all := 0
		for index := len(order) - 1; index >= 0; index-- {
			id := order[index]
			count := arrive[id]
			if count == 0 {
				continue
			}
			switch kind := at[id].kind; {
			case kind == "parallelGateway" && incoming[id] > 1:
				// One for as many as lead there. What is over waits.
				all += count
				count = (count + incoming[id] - 1) / incoming[id]
			case kind == "userTask" || kind == "endEvent":
				all += count
			}
			for _, to := range onward(id) {
				// One of the flows is taken.
				arrive[to] += count
			}
			if all > mostBranches || arrive[id] > mostBranches {
				return fault{item.at, fmt.Sprintf("what follows %s has more than %d branches", item.id, mostBranches)}
			}
		}
	}
	return nil
}
