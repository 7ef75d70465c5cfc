package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// What one attempt may take.
const attempt = 30 * time.Second

// settings are those of a channel, as the city's files have them. Host and Port are those of a mail relay, or of URL.
// Addresses are the ranges in which the host may be found beside the internet; a host that is an address is in the files
// as such. Credentials are USER:PASSWORD of the relay, or a token. Authority has the certificates by which the server is
// known instead of the public ones, in PEM.
type settings struct {
	Sink        bool           `json:"sink"`
	Host        string         `json:"host"`
	Port        int            `json:"port"`
	URL         string         `json:"url"`
	Sender      string         `json:"sender"`
	Addresses   []netip.Prefix `json:"addresses"`
	Credentials string         `json:"credentials"`
	Authority   string         `json:"authority"`
}

// A channel sends a message. A permanent error is one that no other attempt changes.
type channel interface {
	send(ctx context.Context, item *message) error
}

type permanent struct{ error }

func isPermanent(err error) bool { return errors.As(err, &permanent{}) }

// A sink keeps messages instead of sending them.
type sink struct{}

func (sink) send(context.Context, *message) error { return nil }

// openChannels reads the file with the channels of the city. The probe has one of its own.
func openChannels(file string) (map[string]channel, map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var known map[string]settings
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	found, shown := map[string]channel{prober: sink{}}, map[string]string{}
	for name, item := range known {
		if item.Sink {
			found[name], shown[name] = sink{}, "sink"
			continue
		}
		line := &line{host: item.Host, port: item.Port, addresses: item.Addresses}
		line.lookup, line.dial = net.DefaultResolver.LookupNetIP, (&net.Dialer{Timeout: 10 * time.Second}).DialContext
		line.trusted = &tls.Config{ServerName: strings.TrimSuffix(item.Host, "."), MinVersion: tls.VersionTLS12}
		if item.Authority != "" {
			line.trusted.RootCAs = x509.NewCertPool()
			if !line.trusted.RootCAs.AppendCertsFromPEM([]byte(item.Authority)) {
				return nil, nil, fmt.Errorf("the authority of channel %s has no certificates", name)
			}
		}
		switch name {
		case mailChannel:
			found[name] = &relay{line: line, sender: item.Sender, credentials: item.Credentials}
		case sms, webhook:
			found[name] = newPoster(line, item.URL, item.Credentials)
		default:
			return nil, nil, fmt.Errorf("%s: there is no channel %q", file, name)
		}
		shown[name] = net.JoinHostPort(item.Host, strconv.Itoa(item.Port))
	}
	return found, shown, nil
}

// A line leads to the server of a channel.
type line struct {
	host      string
	port      int
	addresses []netip.Prefix
	trusted   *tls.Config
	lookup    func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
}

// connect asks for the name once, and connects to one of the addresses that may be reached. A channel is the city's own,
// so it may be in the city's clusters.
func (l *line) connect(ctx context.Context) (net.Conn, error) {
	given, found := l.addresses, []netip.Addr(nil)
	if literal, err := netip.ParseAddr(l.host); err == nil {
		found, given = []netip.Addr{literal}, []netip.Prefix{netip.PrefixFrom(literal, literal.BitLen())}
	} else if found, err = l.lookup(ctx, "ip", strings.TrimSuffix(l.host, ".")+"."); err != nil {
		// With the dot it is not looked for below the cluster's own domains.
		return nil, err
	}
	failure := fmt.Errorf("%s has no address", l.host)
	for _, item := range found {
		item = item.Unmap()
		if why := refusal(item, given, nil); why != "" {
			failure = fmt.Errorf("%s is %s", item, why)
			continue
		}
		made, err := l.dial(ctx, "tcp", netip.AddrPortFrom(item, uint16(l.port)).String())
		if err == nil {
			return made, nil
		}
		failure = err
	}
	return nil, failure
}
