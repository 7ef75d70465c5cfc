package ship

import (
	"context"
	"errors"
	"io"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	nameLabel      = "app.kubernetes.io/name"
	componentLabel = "app.kubernetes.io/component"
)

// counts are those of a shipper since it was started.
type counts struct{ lines, droppedLines, droppedBytes, cut, gaps atomic.Int64 }

// A follower ships the log of one container of a pod, over all its restarts, until the pod is gone.
type follower struct {
	shipper   *shipper
	namespace namespace
	pod       pod
	container string
	fields    map[string]string

	mutex  sync.Mutex
	status containerStatus
	gone   bool
	change chan struct{}
	cancel context.CancelFunc

	ended   atomic.Bool
	waiting atomic.Int64 // when the oldest line was written that is not stored, 0 for none
	problem atomic.Value

	// Of the goroutine that runs it: the time of the last line that is stored and the server that has it; whether lines
	// up to it are skipped, in a log that was opened again, and whether that log has to begin with it; the run that was
	// read to its end and how many were before it; the limit of what is taken.
	last         time.Time
	instance     string
	skipping     bool
	resuming     bool
	done         string
	doneRestarts int
	bucket       bucket
}

func newFollower(s *shipper, in namespace, of pod, container string) *follower {
	return &follower{
		shipper: s, namespace: in, pod: of, container: container, fields: fieldsOf(in, of, container, s.settings.node),
		change: make(chan struct{}, 1), bucket: bucket{limits: s.settings.limits},
	}
}

// fieldsOf are the fields of a container's lines. The tenant is the namespace's; labels say which app or capability of
// it this is.
func fieldsOf(in namespace, of pod, container, node string) map[string]string {
	labels := of.Metadata.Labels
	fields := map[string]string{
		"tenant": in.Tenant, "platform": in.Platform, "component": labels[componentLabel],
		"namespace": in.Name, "pod": of.Metadata.Name, "container": container,
		"node": node, "pod_uid": of.Metadata.UID,
	}
	if in.Tenant != "" {
		fields["app"] = labels[nameLabel]
	} else {
		fields["capability"] = labels[nameLabel]
	}
	for name, value := range fields {
		if value == "" {
			delete(fields, name)
		}
	}
	return fields
}

func (f *follower) title() string {
	return f.namespace.Name + "/" + f.pod.Metadata.Name + "/" + f.container
}

func (f *follower) tell(status containerStatus, gone bool) {
	f.mutex.Lock()
	if status.Name != "" {
		f.status = status
	}
	f.gone = f.gone || gone
	f.mutex.Unlock()
	select {
	case f.change <- struct{}{}:
	default:
	}
}

func (f *follower) now() (containerStatus, bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.status, f.gone
}

func (f *follower) isGone() bool {
	_, gone := f.now()
	return gone
}

// again ends what the follower reads, so that it asks the store what it has.
func (f *follower) again() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.cancel != nil {
		f.cancel()
	}
	select {
	case f.change <- struct{}{}:
	default:
	}
}

// attempt is a context for one reading, which `again` ends.
func (f *follower) attempt(ctx context.Context) (context.Context, context.CancelFunc) {
	made, cancel := context.WithCancel(ctx)
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.cancel = cancel
	return made, cancel
}

// run ships one run of the container after the other, until the pod is gone.
func (f *follower) run(ctx context.Context) {
	defer f.ended.Store(true)
	for ctx.Err() == nil {
		if f.instance != "" && f.instance != f.shipper.store.instance() {
			f.instance, f.done = "", ""
		}
		status, gone := f.now()
		if status.current() == nil || status.ContainerID == "" || status.ContainerID == f.done {
			if gone {
				return
			}
			select {
			case <-ctx.Done():
			case <-f.change:
			}
			continue
		}
		attempt, cancel := f.attempt(ctx)
		err := f.read(attempt, status)
		was := attempt.Err()
		cancel()
		if was != nil || errors.Is(err, errOtherInstance) {
			continue
		}
		after, gone := f.now()
		if gone && (err == nil || errors.Is(err, errGone)) {
			return
		}
		if err != nil {
			f.note(err)
			sleep(ctx, f.shipper.settings.pause)
			continue
		}
		f.problem.Store("")
		// A log ends when its container has. Should the API server have ended it, it is opened again.
		if after.ContainerID != status.ContainerID || after.State.Running == nil {
			f.done, f.doneRestarts = status.ContainerID, status.RestartCount
		} else {
			sleep(ctx, f.shipper.settings.pause)
		}
	}
}

// read ships the log of the container's run, and before it what is missing of the run before.
func (f *follower) read(ctx context.Context, status containerStatus) error {
	if f.instance == "" {
		found, instance, err := f.shipper.store.last(ctx, f)
		if err != nil {
			return err
		}
		f.last, f.instance = found, instance
	}
	if before := status.before(); status.RestartCount > 0 && (f.done == "" || status.RestartCount != f.doneRestarts+1) {
		body, err := f.shipper.cluster.logs(ctx, f, f.last, false, true)
		if err == nil {
			err = f.ship(ctx, body, before)
		}
		// The node keeps one earlier run, and may have removed it.
		if err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	body, err := f.shipper.cluster.logs(ctx, f, f.last, true, false)
	if err != nil {
		return err
	}
	return f.ship(ctx, body, status.current())
}

// ship sends the log of a run to the store until it ends, in batches that are stored one after the other.
func (f *follower) ship(ctx context.Context, body io.ReadCloser, of *run) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan line)
	ending := make(chan error, 1)
	go func() {
		ending <- readLines(body, func(item line) bool {
			select {
			case lines <- item:
				return true
			case <-ctx.Done():
				return false
			}
		})
		close(lines)
	}()
	// The reader ends with its body.
	defer body.Close()
	batch := newBatch(f)
	f.skipping = true
	// The last line that is stored is one of this run, whose begin is told in whole seconds.
	f.resuming = of != nil && !of.StartedAt.IsZero() && f.last.After(of.StartedAt.Add(time.Second))
	var timer <-chan time.Time
	for {
		select {
		case item, is := <-lines:
			if !is {
				if err := f.send(ctx, batch, true); err != nil {
					return err
				}
				return <-ending
			}
			batch.add(item)
			if timer == nil {
				timer = time.After(f.shipper.settings.collect)
			}
			if !batch.isFull() {
				continue
			}
		case <-timer:
		case <-ctx.Done():
			return ctx.Err()
		}
		timer = nil
		if err := f.send(ctx, batch, false); err != nil {
			return err
		}
		if batch.droppedLines > 0 {
			timer = time.After(f.shipper.settings.collect)
		}
	}
}

// send stores a batch, however long that takes, and empties it.
func (f *follower) send(ctx context.Context, batch *batch, ending bool) error {
	batch.tellDropped(ending)
	if batch.body.Len() == 0 {
		f.stored(batch)
		return nil
	}
	for pause := f.shipper.settings.pause; ; pause = min(2*pause, 10*time.Second) {
		err := f.shipper.store.insert(ctx, f.instance, batch.body.Bytes())
		if err == nil {
			f.problem.Store("")
			f.waiting.Store(0)
			f.stored(batch)
			return nil
		}
		if errors.Is(err, errOtherInstance) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.waiting.Store(batch.first.Unix())
		f.note(err)
		sleep(ctx, pause)
	}
}

// stored notes that the store has a batch.
func (f *follower) stored(batch *batch) {
	if !batch.last.IsZero() {
		f.last = batch.last
	}
	batch.taken()
}

func (f *follower) note(err error) {
	text := strings.ToValidUTF8(err.Error(), "?")
	if len(text) > 300 {
		text = text[:300]
	}
	if before, _ := f.problem.Swap(text).(string); before != text {
		log.Printf("%s: %s", f.title(), text)
	}
}
