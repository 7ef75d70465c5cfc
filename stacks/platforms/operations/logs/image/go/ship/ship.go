// Package ship sends the logs of one node's pods to the store. It reads them through the API server, since a pod of the
// restricted Pod Security level sees no files of its node. What a line says of itself is text and nothing else: the
// fields by which lines are found come from the namespace's entry in the file and from the pod's object.
package ship

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A namespace has the logs of one tenant or of one platform.
type namespace struct {
	Name     string `json:"name"`
	Tenant   string `json:"tenant,omitempty"`
	Platform string `json:"platform,omitempty"`
}

type settings struct {
	node       string
	namespaces []namespace
	ready      string
	limits     limits
	// Where a run of tests shortens what takes its time: the pause before something is tried again, and the time for
	// which lines are collected before they are sent.
	pause, collect time.Duration
}

const (
	// A report tells the store that the shipper is there, and the kubelet that it reaches the store.
	reportEvery = 10 * time.Second
	// The kubelet takes a shipper for ready that has reached the store within this time.
	readyFor = 45 * time.Second
)

// Run ships until the context ends. The node is in NODE_NAME, the password in SHIPPER_PASSWORD.
func Run(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("ship", flag.ContinueOnError)
	url := flags.String("store", "", "`URL` of the store")
	authority := flags.String("authority", "", "`file` with the certificates by which the store is known")
	file := flags.String("namespaces", "", "`file` with the namespaces, and whose each is, in JSON")
	ready := flags.String("ready", "/tmp/ready", "`file` that is touched whenever the store was reached")
	rate := flags.Int64("rate", 128*1024, "`bytes` a second that a container may write for long")
	burst := flags.Int64("burst", 8*1024*1024, "`bytes` that it may write at once beyond that")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	settings := settings{
		node: os.Getenv("NODE_NAME"), ready: *ready, limits: limits{rate: *rate, burst: *burst},
		pause: 2 * time.Second, collect: 500 * time.Millisecond,
	}
	if settings.node == "" || *url == "" {
		return errors.New("NODE_NAME and --store are needed")
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &settings.namespaces); err != nil {
		return fmt.Errorf("%s names no namespaces in JSON: %w", *file, err)
	}
	store, err := newStore(*url, *authority, os.Getenv("SHIPPER_PASSWORD"))
	if err != nil {
		return err
	}
	cluster, err := inCluster()
	if err != nil {
		return err
	}
	log.SetFlags(0)
	newShipper(settings, cluster, store).run(ctx)
	return nil
}

// Ready tells the kubelet whether the shipper has reached the store lately.
func Ready(_ context.Context, arguments []string) error {
	path := "/tmp/ready"
	if len(arguments) == 1 {
		path = arguments[0]
	}
	found, err := os.Stat(path)
	if err != nil {
		return errors.New("the store has not been reached yet")
	}
	if age := time.Since(found.ModTime()); age > readyFor || age < -readyFor {
		return fmt.Errorf("the store was reached %s ago for the last time", age.Round(time.Second))
	}
	return nil
}

// A shipper follows the containers of a node's pods, each by a goroutine of its own.
type shipper struct {
	settings settings
	cluster  *cluster
	store    *store
	counts   counts

	mutex     sync.Mutex
	followers map[string]*follower
	running   sync.WaitGroup
}

func newShipper(settings settings, cluster *cluster, store *store) *shipper {
	made := &shipper{settings: settings, cluster: cluster, store: store, followers: map[string]*follower{}}
	store.changed = made.again
	return made
}

// again has all followers ask what the store has, which may have lost what its instance before had in memory only.
func (s *shipper) again() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, item := range s.followers {
		item.again()
	}
}

func (s *shipper) run(ctx context.Context) {
	// What a shipper before this one has sent last is found by queries a moment later.
	sleep(ctx, s.settings.pause)
	for _, item := range s.settings.namespaces {
		s.running.Go(func() {
			s.cluster.watch(ctx, s.settings, item.Name, func(pods []pod, gone bool, whole bool) {
				s.seen(ctx, item, pods, gone, whole)
			})
		})
	}
	s.running.Go(func() { s.report(ctx) })
	s.running.Wait()
}

// seen takes over what the watch of a namespace has told: pods as they are now, or that are gone. With whole, they are
// all pods of the namespace on this node.
func (s *shipper) seen(ctx context.Context, in namespace, pods []pod, gone, whole bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	named := map[string]bool{}
	for _, item := range pods {
		for _, status := range item.containers() {
			key := item.Metadata.UID + "/" + status.Name
			named[key] = true
			found := s.followers[key]
			if found == nil && gone {
				continue
			}
			if found == nil {
				found = newFollower(s, in, item, status.Name)
				s.followers[key] = found
				s.running.Go(func() { found.run(ctx) })
			}
			found.tell(status, gone)
		}
	}
	for key, item := range s.followers {
		if item.namespace.Name != in.Name {
			continue
		}
		if whole && !named[key] {
			item.tell(containerStatus{}, true)
		}
		if item.ended.Load() && item.isGone() {
			delete(s.followers, key)
		}
	}
}

// report tells the store every ten seconds what the shipper does, and touches the file for the kubelet.
func (s *shipper) report(ctx context.Context) {
	for {
		if err := s.store.report(ctx, s.state()); err == nil {
			s.touch()
		} else if ctx.Err() == nil {
			log.Printf("the store is not told of this node: %s", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reportEvery):
		}
	}
}

func (s *shipper) touch() {
	now := time.Now()
	if os.Chtimes(s.settings.ready, now, now) == nil {
		return
	}
	if err := os.WriteFile(filepath.Clean(s.settings.ready), nil, 0o600); err != nil {
		log.Printf("the kubelet is not told that the store was reached: %s", err)
	}
}

func (s *shipper) state() report {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found := report{
		Node:         s.settings.node,
		Lines:        s.counts.lines.Load(),
		DroppedLines: s.counts.droppedLines.Load(),
		DroppedBytes: s.counts.droppedBytes.Load(),
		CutLines:     s.counts.cut.Load(),
		Gaps:         s.counts.gaps.Load(),
	}
	for _, item := range s.followers {
		if item.ended.Load() {
			continue
		}
		found.Containers++
		if since := item.waiting.Load(); since != 0 {
			found.Behind = max(found.Behind, time.Now().Unix()-since)
		}
		if text, _ := item.problem.Load().(string); text != "" {
			found.Problem = item.title() + ": " + text
		}
	}
	return found
}
