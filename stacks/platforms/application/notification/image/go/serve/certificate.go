package serve

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// loader reads the certificate again when its file has changed, so that a renewed one needs no restart.
type loader struct {
	certificate, key string
	mutex            sync.Mutex
	loaded           *tls.Certificate
	changed          time.Time
}

func (l *loader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	info, err := os.Stat(l.certificate)
	if err == nil && l.loaded != nil && info.ModTime().Equal(l.changed) {
		return l.loaded, nil
	}
	if err == nil {
		var found tls.Certificate
		if found, err = tls.LoadX509KeyPair(l.certificate, l.key); err == nil {
			l.loaded, l.changed = &found, info.ModTime()
		}
	}
	if l.loaded != nil {
		// The files are replaced one after the other: the old pair serves until both are there.
		return l.loaded, nil
	}
	return nil, err
}
