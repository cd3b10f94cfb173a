package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// CheckAddresses returns what is wrong with the addresses of a key of the
// configuration, in one error (errors.Join). port is for its example.
func CheckAddresses(key string, port int, addresses []string) error {
	var errs []error
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not an address such as \":%d\" or \"127.0.0.1:%d\"", key, a, port, port))
		}
	}
	return errors.Join(errs...)
}

// CheckPlaintext returns which of the addresses at which passwords may come in
// the clear can be reached from other machines, in one error. Names count as
// such: who knows what they stand for tomorrow.
func CheckPlaintext(key string, addresses []string) error {
	var errs []error
	for _, a := range addresses {
		if !isLoopback(a) {
			errs = append(errs, fmt.Errorf("%s: listen has %q, which is not an address on loopback; passwords would cross the network unprotected", key, a))
		}
	}
	return errors.Join(errs...)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
