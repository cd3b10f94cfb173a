package login

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// A clientFirst is SCRAM's client-first-message (RFC 5802 section 7).
type clientFirst struct {
	gs2         string // gs2-header, with the comma that ends it
	flag        byte   // 'n', 'y' or 'p'
	bindingType string // with 'p' only
	authzid     string
	bare        string // client-first-message-bare
	name        string
	nonce       string
}

// parseClientFirst reads "n,a=authzid,n=user,r=nonce[,extensions]". Error: ErrSyntax.
func parseClientFirst(message []byte) (clientFirst, error) {
	var m clientFirst
	text := string(message)
	if !plainText(text) {
		return m, ErrSyntax
	}
	flag, rest, ok1 := strings.Cut(text, ",")
	authz, bare, ok2 := strings.Cut(rest, ",")
	user, rest, ok3 := strings.Cut(bare, ",")
	nonce, extensions, more := strings.Cut(rest, ",")
	if !ok1 || !ok2 || !ok3 || more && !extensionsOK(extensions) {
		return m, ErrSyntax
	}
	m.gs2, m.bare = text[:len(text)-len(bare)], bare
	if ok := m.setFlag(flag); !ok {
		return m, ErrSyntax
	}
	if authz != "" {
		value, ok := strings.CutPrefix(authz, "a=")
		if m.authzid, ok = unescapeName(value, ok); !ok {
			return m, ErrSyntax
		}
	}
	// "m=" in the place of the name announces an extension that must be
	// understood (section 5.1); there is none.
	value, ok := strings.CutPrefix(user, "n=")
	if m.name, ok = unescapeName(value, ok); !ok {
		return m, ErrSyntax
	}
	if m.nonce, ok = strings.CutPrefix(nonce, "r="); !ok || !printable(m.nonce) {
		return m, ErrSyntax
	}
	return m, nil
}

// setFlag reads gs2-cbind-flag.
func (m *clientFirst) setFlag(flag string) (ok bool) {
	switch {
	case flag == "n", flag == "y":
		m.flag = flag[0]
	case strings.HasPrefix(flag, "p="):
		m.flag, m.bindingType = 'p', flag[2:]
	}
	return m.flag != 0
}

// A clientFinal is SCRAM's client-final-message.
type clientFinal struct {
	binding      []byte // cbind-input
	nonce        string
	proof        [sha256.Size]byte
	withoutProof string
}

// parseClientFinal reads "c=binding,r=nonce[,extensions],p=proof". Error: ErrSyntax.
func parseClientFinal(message []byte) (clientFinal, error) {
	var m clientFinal
	text := string(message)
	end := strings.LastIndex(text, ",p=")
	if end < 0 || !plainText(text) {
		return m, ErrSyntax
	}
	m.withoutProof = text[:end]
	binding, rest, _ := strings.Cut(m.withoutProof, ",")
	nonce, extensions, more := strings.Cut(rest, ",")
	binding, ok1 := strings.CutPrefix(binding, "c=")
	nonce, ok2 := strings.CutPrefix(nonce, "r=")
	if !ok1 || !ok2 || !printable(nonce) || more && !extensionsOK(extensions) {
		return m, ErrSyntax
	}
	m.nonce = nonce
	proof, err := base64.StdEncoding.Strict().DecodeString(text[end+len(",p="):])
	if err != nil || len(proof) != len(m.proof) {
		return m, ErrSyntax
	}
	copy(m.proof[:], proof)
	if m.binding, err = base64.StdEncoding.Strict().DecodeString(binding); err != nil {
		return m, ErrSyntax
	}
	return m, nil
}

// plainText says whether a message is UTF-8 without NUL and line ends, which the
// grammar has nowhere, and which the base64 decoder would skip.
func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsAny(s, "\x00\r\n")
}

// printable says whether s is a nonce: printable ASCII without comma, and not
// empty.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ',' {
			return false
		}
	}
	return s != ""
}

// extensionsOK says whether s is a list of attributes that may be ignored. A
// second nonce, name or proof may not.
func extensionsOK(s string) bool {
	for attribute := range strings.SplitSeq(s, ",") {
		if len(attribute) < 3 || attribute[1] != '=' || !letter(attribute[0]) || strings.IndexByte("acimnprsv", attribute[0]) >= 0 {
			return false
		}
	}
	return true
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// unescapeName decodes a saslname, in which "=2C" is a comma and "=3D" an equals
// sign, and any other "=" is wrong. It takes and returns whether all is well.
func unescapeName(s string, ok bool) (string, bool) {
	if !ok || s == "" {
		return "", false
	}
	if strings.Count(s, "=") != strings.Count(s, "=2C")+strings.Count(s, "=3D") {
		return "", false
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s), true
}
