package mailauth

import (
	"context"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// A dmarcRecord is a DMARC policy record (RFC 9989 section 4.7).
type dmarcRecord struct {
	policy     Disposition // p=
	subdomains Disposition // sp=, or else p=
	missing    Disposition // np=, or else the former
	broken     bool        // p= is missing, or one of the three is wrong: all are none then
	reports    bool        // rua= says where reports may go
	strictDKIM bool        // adkim=
	strictSPF  bool        // aspf=
	psd        byte        // 'y', 'n' or 'u'
	percent    int         // of the messages the policy holds for; 0 with t=y
}

// parseDMARC reads a record. ok is false for what is none. What is wrong in it
// counts as not being there (RFC 9989 section 4.7).
func parseDMARC(txt string) (r dmarcRecord, ok bool) {
	tags := map[string]string{}
	for i, pair := range strings.Split(txt, ";") {
		name, value, found := strings.Cut(pair, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if i == 0 && (name != "v" || value != "DMARC1") {
			return r, false
		}
		if _, twice := tags[name]; found && !twice {
			tags[name] = strings.ToLower(value)
		}
	}
	r.reports = reportable(tags["rua"])
	r.strictDKIM = tags["adkim"] == "s"
	r.strictSPF = tags["aspf"] == "s"
	r.percent = percent(tags)
	r.psd = 'u'
	if v := tags["psd"]; v == "y" || v == "n" {
		r.psd = v[0]
	}
	r.broken = !parsePolicy(tags, "p", &r.policy)
	r.subdomains = r.policy
	if _, ok := tags["sp"]; ok && !parsePolicy(tags, "sp", &r.subdomains) {
		r.broken = true
	}
	r.missing = r.subdomains
	if _, ok := tags["np"]; ok && !parsePolicy(tags, "np", &r.missing) {
		r.broken = true
	}
	if r.broken {
		r.policy, r.subdomains, r.missing = DispositionNone, DispositionNone, DispositionNone
	}
	return r, true
}

func parsePolicy(tags map[string]string, name string, to *Disposition) bool {
	for d := DispositionNone; d <= DispositionReject; d++ {
		if tags[name] == d.String() {
			*to = d
			return true
		}
	}
	return false
}

// percent reads t= (RFC 9989 section 4.7) or, where that is missing, pct= (RFC
// 7489 section 6.3), of which t=y is what pct=0 was.
func percent(tags map[string]string) int {
	switch tags["t"] {
	case "y":
		return 0
	case "n":
		return 100
	}
	if n, err := strconv.Atoi(tags["pct"]); err == nil && n >= 0 && n < 100 {
		return n
	}
	return 100
}

// reportable tells whether a rua= has an address in it.
func reportable(rua string) bool {
	for uri := range strings.SplitSeq(rua, ",") {
		u, err := url.Parse(strings.TrimSpace(uri))
		if err == nil && u.Scheme != "" && (u.Opaque != "" || u.Host != "") {
			return true
		}
	}
	return false
}

// milden returns what is wanted of a message that drew a number from 0 to 99:
// outside of the percentage it is the next milder (RFC 7489 section 6.6.4).
func (r dmarcRecord) milden(d Disposition, draw int) Disposition {
	if draw >= r.percent && d > DispositionNone {
		return d - 1
	}
	return d
}

// A finding is a record, and where it was.
type finding struct {
	domain string
	record dmarcRecord
}

// maxLabels is what of a longer name the walk goes on with.
const maxLabels = 7

// walk finds the records at a domain and above it, the longest name first
// (RFC 9989 section 4.10): at most eight lookups. With an error it returns what
// it found before. A name of the public suffix list counts as one that says
// psd=y, so that two customers of a registry that forgot to are not one
// organization; where it says psd=n, that holds.
func (c *Checker) walk(ctx context.Context, domain string) ([]finding, error) {
	var found []finding
	for name := domain; name != ""; name = above(name) {
		answer, err := c.DNS.TXT(ctx, "_dmarc."+name)
		if err != nil && !absent(err) {
			return found, err
		}
		record, ok := onlyRecord(answer.Records)
		if !ok {
			continue
		}
		if record.psd == 'u' && isSuffix(name) {
			record.psd = 'y'
		}
		found = append(found, finding{name, record})
		if record.psd == 'n' || record.psd == 'y' && name != domain {
			break
		}
	}
	return found, nil
}

// onlyRecord returns the DMARC record among a name's texts. If there are
// several there is none.
func onlyRecord(texts []string) (only dmarcRecord, ok bool) {
	for _, txt := range texts {
		if r, is := parseDMARC(txt); is {
			if ok {
				return dmarcRecord{}, false
			}
			only, ok = r, true
		}
	}
	return only, ok
}

// above returns the name that the walk comes to after name, or "".
func above(name string) string {
	labels := strings.Split(name, ".")
	return strings.Join(labels[max(1, len(labels)-maxLabels):], ".")
}

func isSuffix(name string) bool {
	suffix, _ := publicsuffix.PublicSuffix(name)
	return suffix == name
}

// organization selects the organizational domain of domain from what was found
// on the way up from it (RFC 9989 section 4.10.2).
func organization(domain string, found []finding) string {
	for _, f := range found {
		switch {
		case f.record.psd == 'n':
			return f.domain
		case f.record.psd == 'y' && f.domain != domain:
			below := strings.TrimSuffix(domain, "."+f.domain)
			return below[strings.LastIndexByte(below, '.')+1:] + "." + f.domain
		}
	}
	if len(found) > 0 {
		return found[len(found)-1].domain
	}
	return domain
}
