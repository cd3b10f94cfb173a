package main

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// A scramPlus logs in with SCRAM-SHA-256-PLUS, bound to a connection of
// TLS 1.3 (RFC 5802, RFC 9266). It is a client of go-sasl's.
type scramPlus struct {
	state          tls.ConnectionState
	name, password string
	bare, proven   string // what was said first, and the signature that must come
}

const scramBinding = "p=tls-exporter,,"

// Start implements sasl.Client.
func (c *scramPlus) Start() (mechanism string, first []byte, err error) {
	c.bare = "n=" + c.name + ",r=" + rand.Text()
	return "SCRAM-SHA-256-PLUS", []byte(scramBinding + c.bare), nil
}

// Next implements sasl.Client.
func (c *scramPlus) Next(challenge []byte) ([]byte, error) {
	if c.proven != "" {
		if string(challenge) != c.proven {
			return nil, fmt.Errorf("the server proves itself with %q, not %q", challenge, c.proven)
		}
		return []byte{}, nil
	}
	fields := map[byte]string{}
	for f := range strings.SplitSeq(string(challenge), ",") {
		if len(f) < 2 {
			return nil, fmt.Errorf("challenge %q", challenge)
		}
		fields[f[0]] = f[2:]
	}
	var iterations int
	_, err1 := fmt.Sscan(fields['i'], &iterations)
	salt, err2 := base64.StdEncoding.DecodeString(fields['s'])
	key, err3 := c.state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	salted, err := pbkdf2.Key(sha256.New, c.password, salt, iterations, 32)
	if err != nil {
		return nil, err
	}
	without := "c=" + base64.StdEncoding.EncodeToString(append([]byte(scramBinding), key...)) + ",r=" + fields['r']
	text := c.bare + "," + string(challenge) + "," + without
	clientKey := keyed(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := make([]byte, 32)
	subtle.XORBytes(proof, clientKey, keyed(stored[:], text))
	c.proven = "v=" + base64.StdEncoding.EncodeToString(keyed(keyed(salted, "Server Key"), text))
	return []byte(without + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

func keyed(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
