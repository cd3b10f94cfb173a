package storage

import "testing"

// TestIterationsThatClientsRefuse: Cyrus SASL's SCRAM does not log in beyond
// 65,536, and RFC 7677 section 4 wants 4,096.
func TestIterationsThatClientsRefuse(t *testing.T) {
	if _, n := NewSalt(); n < 4_096 || n > 65_536 {
		t.Errorf("new accounts have %d iterations", n)
	}
}
