package serve

import (
	"net"
	"slices"
	"sync"
)

// gate bounds the connections of a listener: those of all clients at a time, and those of each, which is an address.
//
// None is refused, since clients of another cloud may share an address. A new connection takes the place of its
// client's oldest one if that client has as many as it may, and of the oldest one of the client that has most if there
// are as many as may be. So who opens many loses its own. The images of logs, metrics and the registry have the same
// file.
type gate struct {
	net.Listener
	all, each int

	mutex sync.Mutex
	// The oldest first.
	open []*connection
}

type connection struct {
	net.Conn
	gate   *gate
	client string
}

func (g *gate) Accept() (net.Conn, error) {
	found, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	client, _, err := net.SplitHostPort(found.RemoteAddr().String())
	if err != nil {
		client = found.RemoteAddr().String()
	}
	made := &connection{Conn: found, gate: g, client: client}
	if replaced := g.enter(made); replaced != nil {
		_ = replaced.Conn.Close()
	}
	return made, nil
}

func (c *connection) Close() error {
	c.gate.leave(c)
	return c.Conn.Close()
}

// enter counts a connection and returns the one whose place it takes, if any.
func (g *gate) enter(made *connection) *connection {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	counts := map[string]int{}
	for _, item := range g.open {
		counts[item.client]++
	}
	most := made.client
	if len(g.open) >= g.all && counts[most] < g.each {
		for _, item := range g.open {
			if counts[item.client] > counts[most] {
				most = item.client
			}
		}
	}
	var replaced *connection
	if len(g.open) >= g.all || counts[most] >= g.each {
		index := slices.IndexFunc(g.open, func(item *connection) bool { return item.client == most })
		replaced = g.open[index]
		g.open = slices.Delete(g.open, index, index+1)
	}
	g.open = append(g.open, made)
	return replaced
}

func (g *gate) leave(ended *connection) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if index := slices.Index(g.open, ended); index >= 0 {
		g.open = slices.Delete(g.open, index, index+1)
	}
}
