package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
)

// TestDictionary: the dictionary is what it was when mail was compressed with
// it, and such mail is read.
func TestDictionary(t *testing.T) {
	if got := fmt.Sprintf("%x", sha256.Sum256(dictionary())); got != "c15545790cf0fb7afe814ebe81d6b714e18d96e92a2229a8e294a2bd61f5dcfa" {
		t.Errorf("dictionary %d changed: mail that was compressed with it cannot be read. Its SHA-256 is %s", dictionaryID, got)
	}
	const text = "From: a@client.example\r\nSubject: invoice\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThank you for your order.\r\n"
	stored, err := hex.DecodeString("28b52ffd0600419c3501006861402e0d0a6f726465722e0d0a070051770962061344a21c74d008ada4ba3b5762ec1a6810b696a5d3")
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := decoder().DecodeAll(stored, nil); err != nil || string(plain) != text {
		t.Errorf("%q, %v", plain, err)
	}
	if now := encoder().EncodeAll([]byte(text), nil); len(now) > len(text)/2 {
		t.Errorf("%d octets became %d: %x", len(text), len(now), now)
	}
}
