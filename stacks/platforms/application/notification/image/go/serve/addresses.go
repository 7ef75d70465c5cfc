package serve

import (
	"net/netip"
	"strings"
)

// Addresses that are not on the internet, beside those that netip knows to be private or local: of special purpose by
// the registries of IANA, or IPv4 addresses in the shape of IPv6.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	"5f00::/16", "fec0::/10",
)

// Nobody's webhook, whatever the files say: metadata services of vendors that are not link-local.
var metadata = prefixes("100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128")

func prefixes(texts ...string) []netip.Prefix {
	var found []netip.Prefix
	for _, text := range texts {
		found = append(found, netip.MustParsePrefix(text))
	}
	return found
}

func within(address netip.Addr, ranges []netip.Prefix) bool {
	for _, item := range ranges {
		if item.Contains(address) {
			return true
		}
	}
	return false
}

// ownNetworks are the ranges of the city's own clusters: those that are given, and those that each container knows of its
// surroundings, which are single addresses.
func ownNetworks(given, surroundings string) ([]netip.Prefix, error) {
	var found []netip.Prefix
	for _, text := range words(given) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		found = append(found, prefix.Masked())
	}
	for _, text := range words(surroundings) {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		found = append(found, netip.PrefixFrom(address, address.BitLen()))
	}
	return found, nil
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// refusal says why a connection to an address must not be made, empty for one that may. given are the ranges that the
// city's files name for it, own those of the city's clusters in which it must not be.
func refusal(address netip.Addr, given, own []netip.Prefix) string {
	switch {
	case address.IsLoopback(), address.IsUnspecified(), address.IsLinkLocalUnicast(), address.IsMulticast(),
		address.IsInterfaceLocalMulticast(), within(address, metadata):
		return "an address of the sender's own surroundings"
	case within(address, own):
		return "in the city's own clusters, where no tenant's webhook may be"
	case within(address, given):
		return ""
	case address.IsPrivate(), within(address, special):
		return "no address of the internet, nor in `addresses` of the webhook"
	}
	return ""
}
