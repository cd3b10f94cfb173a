package mailauth

import (
	"fmt"
	"strings"
	"testing"

	"mailbox/internal/dns/dnstest"
)

const (
	none       = DispositionNone
	quarantine = DispositionQuarantine
	reject     = DispositionReject
)

// A dmarcCase is a message and what DMARC says of it.
type dmarcCase struct {
	section string // of RFC 9989 where it names no other
	name    string
	// zone has, between bars: "domain=record", of which v=DMARC1 is left out;
	// "domain:=text" for any text in the record's place; "@domain" for a domain
	// that exists; "!name" for a name that cannot be looked up.
	zone string
	from string // the From field's value; or with a line feed, the fields
	// spf is the domain of MAIL FROM that SPF passes for; "~" before it makes
	// that softfail, "<>" is the null reverse-path, with HELO behind it.
	spf  string
	dkim string // domains that signed, well; with "-" before it, badly
	want Result
	then Disposition
}

var dmarcCases = []dmarcCase{
	// Policies.
	{"5.4", "reject", "bank.example=p=reject", "a@bank.example", "", "", Fail, reject},
	{"5.4", "quarantine", "bank.example=p=quarantine", "a@bank.example", "", "", Fail, quarantine},
	{"5.4", "none", "bank.example=p=none", "a@bank.example", "", "", Fail, none},
	{"4.10.1", "no policy", "", "a@bank.example", "", "", None, none},
	{"4.10.1", "no policy, but SPF passes", "", "a@bank.example", "bank.example", "", None, none},
	{"5.3.5", "SPF passes", "bank.example=p=reject", "a@bank.example", "bank.example", "", Pass, none},
	{"5.3.5", "DKIM passes", "bank.example=p=reject", "a@bank.example", "", "bank.example", Pass, none},
	{"5.3.5", "both pass", "bank.example=p=reject", "a@bank.example", "bank.example", "bank.example", Pass, none},
	{"5.3.5", "SPF passes for another", "bank.example=p=reject", "a@bank.example", "evil.example", "", Fail, reject},
	{"5.3.5", "DKIM passes for another", "bank.example=p=reject", "a@bank.example", "", "evil.example", Fail, reject},
	{"5.3.5", "both pass for another", "bank.example=p=reject", "a@bank.example", "evil.example", "evil.example", Fail, reject},
	{"5.3.5", "DKIM passes, SPF for another", "bank.example=p=reject", "a@bank.example", "esp.example", "bank.example", Pass, none},
	{"5.3.5", "SPF passes, DKIM for another", "bank.example=p=reject", "a@bank.example", "bank.example", "esp.example", Pass, none},
	{"4.4.1", "one of three signatures", "bank.example=p=reject", "a@bank.example", "", "esp.example list.example bank.example", Pass, none},
	{"4.4.1", "bad signature", "bank.example=p=reject", "a@bank.example", "", "-bank.example", Fail, reject},
	{"4.4.1", "bad signature beside a good one", "bank.example=p=reject", "a@bank.example", "", "-bank.example bank.example", Pass, none},
	{"4.4.1", "bad signature beside that of another", "bank.example=p=reject", "a@bank.example", "", "-bank.example evil.example", Fail, reject},
	{"4.4.2", "softfail is no pass", "bank.example=p=reject", "a@bank.example", "~bank.example", "", Fail, reject},
	{"4.4.2", "softfail, DKIM passes", "bank.example=p=reject", "a@bank.example", "~bank.example", "bank.example", Pass, none},
	{"3.2.4", "null reverse-path, HELO passes", "bank.example=p=reject", "a@bank.example", "<>bank.example", "", Pass, none},
	{"3.2.4", "null reverse-path, HELO of a subdomain", "bank.example=p=reject", "a@bank.example", "<>mx.bank.example", "", Pass, none},
	{"3.2.4", "null reverse-path, HELO of another", "bank.example=p=reject", "a@bank.example", "<>mx.evil.example", "", Fail, reject},

	// Alignment.
	{"4.4.1", "subdomain signed", "bank.example=p=reject", "a@bank.example", "", "mail.bank.example", Pass, none},
	{"4.4.1", "parent signed", "bank.example=p=reject", "a@mail.bank.example", "", "bank.example", Pass, none},
	{"4.4.1", "sibling signed", "bank.example=p=reject", "a@mail.bank.example", "", "news.bank.example", Pass, none},
	{"4.4.1", "deep subdomain signed", "bank.example=p=reject", "a@bank.example", "", "a.b.c.bank.example", Pass, none},
	{"4.4.1", "name that ends alike", "bank.example=p=reject", "a@bank.example", "", "evilbank.example", Fail, reject},
	{"4.4.1", "name that begins alike", "bank.example=p=reject", "a@bank.example", "", "bank.example.evil.example", Fail, reject},
	{"4.4.1", "name with a dash", "bank.example=p=reject", "a@bank.example", "", "mail-bank.example", Fail, reject},
	{"4.4.1", "top-level domain signed", "bank.example=p=reject", "a@bank.example", "", "example", Fail, reject},
	{"4.4", "case does not matter", "bank.example=p=reject", "a@BANK.Example", "", "bank.EXAMPLE", Pass, none},
	{"4.4", "nor in strict mode", "bank.example=p=reject; adkim=s", "a@Bank.Example", "", "BANK.example", Pass, none},
	{"4.4.2", "subdomain in MAIL FROM", "bank.example=p=reject", "a@bank.example", "bounce.bank.example", "", Pass, none},
	{"4.4.2", "parent in MAIL FROM", "bank.example=p=reject", "a@news.bank.example", "bank.example", "", Pass, none},
	{"4.4.2", "sibling in MAIL FROM", "bank.example=p=reject", "a@news.bank.example", "bounce.bank.example", "", Pass, none},
	{"4.4.2", "MAIL FROM that ends alike", "bank.example=p=reject", "a@bank.example", "evilbank.example", "", Fail, reject},
	{"4.4.1", "strict, the same", "bank.example=p=reject; adkim=s", "a@bank.example", "", "bank.example", Pass, none},
	{"4.4.1", "strict, subdomain signed", "bank.example=p=reject; adkim=s", "a@bank.example", "", "mail.bank.example", Fail, reject},
	{"4.4.1", "strict, parent signed", "bank.example=p=reject; adkim=s", "a@mail.bank.example", "", "bank.example", Fail, reject},
	{"4.4.1", "strict for DKIM leaves SPF relaxed", "bank.example=p=reject; adkim=s", "a@bank.example", "b.bank.example", "b.bank.example", Pass, none},
	{"4.4.2", "strict, the same in MAIL FROM", "bank.example=p=reject; aspf=s", "a@bank.example", "bank.example", "", Pass, none},
	{"4.4.2", "strict, subdomain in MAIL FROM", "bank.example=p=reject; aspf=s", "a@bank.example", "b.bank.example", "", Fail, reject},
	{"4.4.2", "strict for SPF leaves DKIM relaxed", "bank.example=p=reject; aspf=s", "a@bank.example", "b.bank.example", "b.bank.example", Pass, none},
	{"4.4", "strict for both", "bank.example=p=reject; aspf=s; adkim=s", "a@bank.example", "b.bank.example", "b.bank.example", Fail, reject},
	{"4.4", "strict for both, of a subdomain that is the author", "bank.example=p=reject; aspf=s; adkim=s", "a@b.bank.example", "", "b.bank.example", Pass, none},
	{"4.7", "mode that there is not is relaxed", "bank.example=p=reject; adkim=x; aspf=y", "a@bank.example", "", "b.bank.example", Pass, none},
	{"4.7", "modes in capitals", "bank.example=p=reject; ADKIM=S; ASPF=S", "a@bank.example", "b.bank.example", "b.bank.example", Fail, reject},

	// The tree walk and the organizational domain.
	{"4.10.1", "own record before the organization's", "bank.example=p=reject|news.bank.example=p=none", "a@news.bank.example", "", "", Fail, none},
	{"4.10.1", "organization's record", "bank.example=p=reject", "a@news.bank.example", "", "", Fail, reject},
	{"4.10.1", "record in between is not the policy", "bank.example=p=reject|b.bank.example=p=none", "a@a.b.bank.example", "", "", Fail, reject},
	{"4.10.2", "fewest labels is the organization", "bank.example=p=reject|b.bank.example=p=none", "a@a.b.bank.example", "", "x.bank.example", Pass, none},
	{"4.10.2", "two with records are one organization", "bank.example=p=reject|a.bank.example=p=reject|b.bank.example=p=reject", "a@a.bank.example", "", "b.bank.example", Pass, none},
	{"4.10.2", "parent without a record is another", "a.bank.example=p=reject", "a@a.bank.example", "", "bank.example", Fail, reject},
	{"4.10.2", "siblings without a common record are others", "a.bank.example=p=reject|b.bank.example=p=reject", "a@a.bank.example", "", "b.bank.example", Fail, reject},
	{"4.10.2", "psd=n makes an organization", "bank.example=p=reject|shop.bank.example=p=reject; psd=n", "a@shop.bank.example", "", "bank.example", Fail, reject},
	{"4.10.2", "and its subdomains are of it", "bank.example=p=reject|shop.bank.example=p=reject; psd=n", "a@shop.bank.example", "", "a.shop.bank.example", Pass, none},
	{"4.10.2", "and its parent is not", "bank.example=p=reject|shop.bank.example=p=reject; psd=n", "a@bank.example", "", "shop.bank.example", Fail, reject},
	{"4.10.2", "psd=n below the author's organization", "bank.example=p=reject|shop.bank.example=p=reject; psd=n", "a@bank.example", "", "x.shop.bank.example", Fail, reject},
	{"4.10.1", "policy of the organization that psd=n makes", "bank.example=p=none|shop.bank.example=p=reject; psd=n", "a@x.shop.bank.example", "", "", Fail, reject},
	{"4.10.2", "psd=y: one below is the organization", "gov.example=p=reject; psd=y|tax.gov.example=p=none", "a@a.tax.gov.example", "", "b.tax.gov.example", Pass, none},
	{"4.10.2", "psd=y: neighbours are others", "gov.example=p=reject; psd=y", "a@tax.gov.example", "", "war.gov.example", Fail, reject},
	{"4.10.2", "psd=y: the suffix itself is another", "gov.example=p=reject; psd=y", "a@tax.gov.example", "", "gov.example", Fail, reject},
	{"4.10.2", "psd=y: without a record of its own", "gov.example=p=reject; psd=y", "a@a.tax.gov.example", "", "b.tax.gov.example", Pass, none},
	{"4.10.1", "psd=y: policy for those without", "gov.example=p=reject; psd=y", "a@tax.gov.example", "", "", Fail, reject},
	{"4.10.1", "psd=y: sp= is for those without", "gov.example=p=reject; sp=quarantine; psd=y|@tax.gov.example", "a@tax.gov.example", "", "", Fail, quarantine},
	{"4.10.1", "psd=y: np= is for those that are not", "gov.example=p=none; sp=none; np=reject; psd=y", "a@tax.gov.example", "", "", Fail, reject},
	{"4.10.1", "psd=y: the organization's comes first", "gov.example=p=reject; psd=y|tax.gov.example=p=none", "a@a.tax.gov.example", "", "", Fail, none},
	{"5.3.1", "the suffix is the author", "gov.example=p=reject; psd=y", "a@gov.example", "", "", Fail, reject},
	{"4.10.2", "the suffix is the author and signed", "gov.example=p=reject; psd=y", "a@gov.example", "", "gov.example", Pass, none},
	{"4.10.2", "the suffix is the author, a customer signed", "gov.example=p=reject; psd=y", "a@gov.example", "", "tax.gov.example", Fail, reject},
	{"4.10", "psd=y ends the walk", "example=p=reject; psd=n|gov.example=p=none; psd=y", "a@tax.gov.example", "", "", Fail, none},
	{"4.10", "psd=n ends the walk", "example=p=reject; psd=y|bank.example=p=none; psd=n", "a@a.bank.example", "", "", Fail, none},
	{"4.10", "psd=y ends the walk before trouble", "gov.example=p=reject; psd=y|!_dmarc.example", "a@tax.gov.example", "", "", Fail, reject},
	{"4.10", "psd=n ends the walk before trouble", "bank.example=p=reject; psd=n|!_dmarc.example", "a@a.bank.example", "", "", Fail, reject},
	{"4.7", "psd=u is nothing", "bank.example=p=reject; psd=u", "a@a.bank.example", "", "b.bank.example", Pass, none},
	{"4.7", "psd=x is nothing", "bank.example=p=reject; psd=x", "a@a.bank.example", "", "b.bank.example", Pass, none},
	{"4.10", "eight labels", "bank.example=p=reject", "a@1.2.3.4.5.6.bank.example", "", "bank.example", Pass, none},
	{"4.10", "nine labels", "bank.example=p=reject", "a@1.2.3.4.5.6.7.bank.example", "", "bank.example", Pass, none},
	{"4.10", "many labels", "bank.example=p=reject", "a@" + strings.Repeat("x.", 100) + "bank.example", "", "", Fail, reject},
	{"4.10", "own record of many labels", "1.2.3.4.5.6.7.8.bank.example=p=reject", "a@1.2.3.4.5.6.7.8.bank.example", "", "", Fail, reject},
	{"4.10", "seven labels are looked at", "3.4.5.6.7.bank.example=p=reject", "a@1.2.3.4.5.6.7.bank.example", "", "", Fail, reject},
	{"4.10", "between them nothing is", "2.3.4.5.6.7.bank.example=p=reject", "a@1.2.3.4.5.6.7.bank.example", "", "", None, none},

	// Public suffixes of the list, which stand for psd=y that nobody published.
	{"4.10.2", "suffix without psd=y: neighbours are others", "co.uk=p=none|bank.co.uk=p=reject", "a@bank.co.uk", "", "evil.co.uk", Fail, reject},
	{"4.10.2", "suffix without psd=y: the suffix is another", "co.uk=p=none|bank.co.uk=p=reject", "a@bank.co.uk", "", "co.uk", Fail, reject},
	{"4.10.2", "suffix without psd=y: organization below it", "co.uk=p=none|bank.co.uk=p=reject", "a@a.bank.co.uk", "", "b.bank.co.uk", Pass, none},
	{"4.10.1", "suffix without psd=y: its policy", "co.uk=p=reject", "a@bank.co.uk", "", "", Fail, reject},
	{"4.10.2", "suffix of a company: neighbours are others", "github.io=p=reject", "a@bank.github.io", "", "evil.github.io", Fail, reject},
	{"4.10.2", "suffix of a company: itself", "github.io=p=reject", "a@github.io", "", "github.io", Pass, none},
	{"4.10.2", "suffix of a company that says psd=n", "github.io=p=reject; psd=n", "a@a.github.io", "", "b.github.io", Pass, none},
	{"4.10.2", "top-level domain with a record", "example=p=reject", "a@bank.example", "", "evil.example", Fail, reject},
	{"4.10.2", "top-level domain as the author", "example=p=reject", "a@example", "", "example", Pass, none},
	{"4.4.1", "d= is a suffix", "bank.co.uk=p=reject", "a@bank.co.uk", "", "co.uk", Fail, reject},
	{"4.4.1", "d= is a suffix above it", "bank.co.uk=p=reject", "a@bank.co.uk", "", "uk", Fail, reject},
	{"4.4.2", "MAIL FROM is a suffix", "bank.co.uk=p=reject", "a@bank.co.uk", "co.uk", "", Fail, reject},

	// Policies for subdomains.
	{"4.7", "sp= for a subdomain", "bank.example=p=reject; sp=none|@a.bank.example", "a@a.bank.example", "", "", Fail, none},
	{"4.7", "sp= stricter than p=", "bank.example=p=none; sp=reject|@a.bank.example", "a@a.bank.example", "", "", Fail, reject},
	{"4.7", "sp= is not for the domain itself", "bank.example=p=none; sp=reject", "a@bank.example", "", "", Fail, none},
	{"4.7", "sp= in the author's own record", "bank.example=p=none|a.bank.example=p=quarantine; sp=reject", "a@a.bank.example", "", "", Fail, quarantine},
	{"4.7", "no sp=", "bank.example=p=quarantine|@a.bank.example", "a@a.bank.example", "", "", Fail, quarantine},
	{"4.7", "np= for one that is not there", "bank.example=p=none; sp=none; np=reject", "a@ghost.bank.example", "", "", Fail, reject},
	{"4.7", "np= is not for one that is there", "bank.example=p=none; sp=quarantine; np=reject|@a.bank.example", "a@a.bank.example", "", "", Fail, quarantine},
	{"4.7", "np= is not for one that only has subdomains (RFC 8020)", "bank.example=p=none; np=reject|@x.a.bank.example", "a@a.bank.example", "", "", Fail, none},
	{"4.7", "np= is not for the domain itself", "bank.example=p=none; np=reject", "a@bank.example", "", "", Fail, none},
	{"4.7", "no np=: sp=", "bank.example=p=none; sp=reject", "a@ghost.bank.example", "", "", Fail, reject},
	{"4.7", "no np=, no sp=: p=", "bank.example=p=reject", "a@ghost.bank.example", "", "", Fail, reject},
	{"4.7", "np= milder", "bank.example=p=reject; np=none", "a@ghost.bank.example", "", "", Fail, none},
	{"4.7", "np=, and SPF passes", "bank.example=p=reject; np=reject", "a@ghost.bank.example", "bank.example", "", Pass, none},
	{"4.7", "np= when nobody can say whether it is there", "bank.example=p=none; np=reject|!ghost.bank.example", "a@ghost.bank.example", "", "", Fail, none},

	// Records that are broken, or none.
	{"4.7", "spaces", "bank.example:=v = DMARC1 ;  p  =  reject ; ", "a@bank.example", "", "", Fail, reject},
	{"4.7", "no spaces", "bank.example:=v=DMARC1;p=reject", "a@bank.example", "", "", Fail, reject},
	{"4.7", "capitals", "bank.example:=V=DMARC1; P=REJECT", "a@bank.example", "", "", Fail, reject},
	{"4.7", "version in small letters", "bank.example:=v=dmarc1; p=reject", "a@bank.example", "", "", None, none},
	{"4.7", "another version", "bank.example:=v=DMARC2; p=reject", "a@bank.example", "", "", None, none},
	{"4.7", "version that goes on", "bank.example:=v=DMARC1x; p=reject", "a@bank.example", "", "", None, none},
	{"4.7", "no version", "bank.example:=p=reject", "a@bank.example", "", "", None, none},
	{"4.7", "version is not first", "bank.example:=p=reject; v=DMARC1", "a@bank.example", "", "", None, none},
	{"4.7", "nothing", "bank.example:=", "a@bank.example", "", "", None, none},
	{"4.7", "unknown tags", "bank.example=x=y; p=reject; z", "a@bank.example", "", "", Fail, reject},
	{"4.7", "p= is not next", "bank.example=adkim=s; p=reject", "a@bank.example", "", "", Fail, reject},
	{"4.7", "quotes", `bank.example:="v=DMARC1; p=reject"`, "a@bank.example", "", "", None, none},
	{"4.10.1", "only a version", "bank.example:=v=DMARC1", "a@bank.example", "", "", PermError, none},
	{"4.10.1", "no p=", "bank.example=adkim=s", "a@bank.example", "", "", PermError, none},
	{"4.10.1", "no p=, but rua=", "bank.example=rua=mailto:a@bank.example", "a@bank.example", "", "", Fail, none},
	{"4.10.1", "no p=, rua=, and DKIM passes", "bank.example=rua=mailto:a@bank.example", "a@bank.example", "", "bank.example", Pass, none},
	{"4.10.1", "p= that there is not", "bank.example=p=deny", "a@bank.example", "", "", PermError, none},
	{"4.10.1", "p= that there is not, but rua=", "bank.example=p=deny; rua=mailto:a@bank.example", "a@bank.example", "", "", Fail, none},
	{"4.10.1", "p= that there is not, rua= that is none", "bank.example=p=deny; rua=a@bank.example", "a@bank.example", "", "", PermError, none},
	{"4.10.1", "one of rua= is an address", "bank.example=p=deny; rua=x,mailto:a@bank.example", "a@bank.example", "", "", Fail, none},
	{"4.10.1", "sp= that there is not", "bank.example=p=reject; sp=deny", "a@bank.example", "", "", PermError, none},
	{"4.10.1", "sp= that there is not, but rua=", "bank.example=p=reject; sp=deny; rua=mailto:a@b.example", "a@bank.example", "", "", Fail, none},
	{"4.10.1", "np= that there is not", "bank.example=p=reject; np=deny", "a@bank.example", "", "", PermError, none},
	{"4.7", "p= twice: the first", "bank.example=p=reject; p=none", "a@bank.example", "", "", Fail, reject},
	{"4.10", "two records are none", "bank.example=p=reject|bank.example=p=none", "a@bank.example", "", "", None, none},
	{"4.10", "two records, and the organization's", "bank.example=p=reject|a.bank.example=p=none|a.bank.example=p=none", "a@a.bank.example", "", "", Fail, reject},
	{"4.10", "record beside another text", "bank.example:=hello|bank.example=p=reject", "a@bank.example", "", "", Fail, reject},
	{"4.10", "record beside one of another version", "bank.example:=v=DMARC2; p=none|bank.example=p=reject", "a@bank.example", "", "", Fail, reject},
	{"4.5", "record in many strings", "bank.example=p=reject; rua=mailto:" + strings.Repeat("a", 600) + "@bank.example; aspf=s", "a@bank.example", "x.bank.example", "", Fail, reject},
	{"4.10.1", "broken record is the organization's", "bank.example=p=deny", "a@a.bank.example", "", "bank.example", PermError, none},

	// Testing.
	{"4.7", "t=y", "bank.example=p=reject; t=y", "a@bank.example", "", "", Fail, quarantine},
	{"4.7", "t=y, quarantine", "bank.example=p=quarantine; t=y", "a@bank.example", "", "", Fail, none},
	{"4.7", "t=y, none", "bank.example=p=none; t=y", "a@bank.example", "", "", Fail, none},
	{"4.7", "t=n", "bank.example=p=reject; t=n", "a@bank.example", "", "", Fail, reject},
	{"4.7", "t=x", "bank.example=p=reject; t=x", "a@bank.example", "", "", Fail, reject},
	{"4.7", "t=y for a subdomain", "bank.example=p=none; sp=reject; t=y|@a.bank.example", "a@a.bank.example", "", "", Fail, quarantine},
	{"4.7", "t=n before pct=", "bank.example=p=reject; t=n; pct=0", "a@bank.example", "", "", Fail, reject},
	{"RFC 7489 6.6.4", "pct=0", "bank.example=p=reject; pct=0", "a@bank.example", "", "", Fail, quarantine},
	{"RFC 7489 6.6.4", "pct=0, quarantine", "bank.example=p=quarantine; pct=0", "a@bank.example", "", "", Fail, none},
	{"RFC 7489 6.3", "pct=100", "bank.example=p=reject; pct=100", "a@bank.example", "", "", Fail, reject},
	{"RFC 7489 6.3", "pct=101", "bank.example=p=reject; pct=101", "a@bank.example", "", "", Fail, reject},
	{"RFC 7489 6.3", "pct=-1", "bank.example=p=reject; pct=-1", "a@bank.example", "", "", Fail, reject},
	{"RFC 7489 6.3", "pct=x", "bank.example=p=reject; pct=x", "a@bank.example", "", "", Fail, reject},

	// Internationalized names.
	{"5.3.1", "U-labels in From", "xn--bcher-kva.example=p=reject", "a@bücher.example", "", "", Fail, reject},
	{"5.3.1", "A-labels in From", "xn--bcher-kva.example=p=reject", "a@xn--bcher-kva.example", "", "", Fail, reject},
	{"5.3.1", "U-labels in From, A-labels signed", "xn--bcher-kva.example=p=reject", "a@bücher.example", "", "xn--bcher-kva.example", Pass, none},
	{"5.3.1", "A-labels in From, U-labels in MAIL FROM", "xn--bcher-kva.example=p=reject", "a@xn--bcher-kva.example", "bücher.example", "", Pass, none},
	{"5.3.1", "capitals in U-labels", "xn--bcher-kva.example=p=reject", "a@BÜCHER.example", "", "xn--bcher-kva.example", Pass, none},
	{"5.3.1", "decomposed U-labels", "xn--bcher-kva.example=p=reject", "a@bu\u0308cher.example", "", "xn--bcher-kva.example", Pass, none},
	{"5.3.1", "full width", "bank.example=p=reject", "a@ｂａｎｋ.example", "", "", Fail, reject},
	{"5.3.1", "ideographic full stop", "bank.example=p=reject", "a@bank。example", "", "", Fail, reject},
	{"5.3.1", "name without the dots", "xn--bcher-kva.example=p=reject", "a@bucher.example", "", "xn--bcher-kva.example", None, none},
	{"5.3.1", "sharp s is no double s", "xn--strae-oqa.example=p=reject", "a@straße.example", "", "strasse.example", Fail, reject},
	{"5.3.1", "subdomain of U-labels", "xn--bcher-kva.example=p=reject", "a@mail.bücher.example", "", "xn--bcher-kva.example", Pass, none},
	{"5.3.1", "suffix of U-labels", "xn--55qx5d.cn=p=none|bank.xn--55qx5d.cn=p=reject", "a@bank.公司.cn", "", "evil.xn--55qx5d.cn", Fail, reject},

	// From fields.
	{"5.3.1", "display name", "bank.example=p=reject", `"Bank" <a@bank.example>`, "", "", Fail, reject},
	{"5.3.1", "address in the display name", "bank.example=p=reject|evil.example=p=none", `"ceo@bank.example" <a@evil.example>`, "", "evil.example", Pass, none},
	{"5.3.1", "encoded address in the display name", "bank.example=p=reject|evil.example=p=none", `=?utf-8?q?ceo=40bank.example?= <a@evil.example>`, "", "evil.example", Pass, none},
	{"5.3.1", "comments", "bank.example=p=reject", `a@bank.example (not a@evil.example)`, "", "evil.example", Fail, reject},
	{"5.3.1", "comment with an angle bracket", "bank.example=p=reject", `(<a@evil.example>) a@bank.example`, "", "evil.example", Fail, reject},
	{"5.3.1", "folded", "bank.example=p=reject", "Bank\r\n <a@bank.example>", "", "", Fail, reject},
	{"5.3.1", "source route", "bank.example=p=reject", "<@evil.example:a@bank.example>", "", "evil.example", Fail, reject},
	{"5.3.1", "quoted local part", "bank.example=p=reject", `"a b"@bank.example`, "", "", Fail, reject},
	{"5.3.1", "dot at the end", "bank.example=p=reject", "a@bank.example.", "", "", Fail, reject},
	{"5.3.1", "two addresses of one domain", "bank.example=p=reject", "a@bank.example, b@bank.example", "", "bank.example", Pass, none},
	{"5.3.1", "two addresses of one domain, none signed", "bank.example=p=reject", "a@bank.example, b@bank.example", "", "", Fail, reject},
	{"5.3.1", "two domains, one wants reject", "bank.example=p=reject|evil.example=p=none", "a@evil.example, a@bank.example", "", "evil.example", Fail, reject},
	{"5.3.1", "two domains, that one signed", "bank.example=p=reject|evil.example=p=none", "a@evil.example, a@bank.example", "", "bank.example", Fail, none},
	{"5.3.1", "two domains without policies", "", "a@one.example, a@two.example", "", "", Fail, none},
	{"RFC 5322 3.6", "two From fields", "bank.example=p=none|evil.example=p=none", "From: a@bank.example\nFrom: a@evil.example", "", "", Fail, quarantine},
	{"RFC 5322 3.6", "two From fields, the second's domain wants reject", "bank.example=p=reject|evil.example=p=none", "From: a@evil.example\nFrom: a@bank.example", "", "evil.example", Fail, reject},
	{"RFC 5322 3.6", "two From fields, both of the domain that signed", "bank.example=p=reject", "From: a@bank.example\nFrom: b@bank.example", "", "bank.example", Fail, reject},
	{"RFC 5322 3.6", "two From fields, one with a space", "bank.example=p=reject", "From : a@bank.example\nFROM: b@evil.example", "", "evil.example", Fail, reject},
	{"RFC 5322 3.6", "no From field", "", "Sender: a@bank.example\n", "", "", Fail, quarantine},
	{"RFC 5322 3.6.2", "empty From", "", "", "", "", Fail, quarantine},
	{"RFC 5322 3.6.2", "From without an address", "", "Bank", "", "", Fail, quarantine},
	{"RFC 5322 3.6.2", "empty address", "", "Bank <>", "", "", Fail, quarantine},
	{"RFC 5322 3.6.2", "address without a domain", "", "<a@>", "", "", Fail, quarantine},
	{"RFC 5322 3.6.2", "address without a local part", "bank.example=p=reject", "<@bank.example>", "", "bank.example", Fail, reject},
	{"RFC 6854 2.1", "group", "bank.example=p=reject", "Bank: a@bank.example;", "", "bank.example", Fail, reject},
	{"RFC 6854 2.1", "empty group", "", "Bank:;", "", "", Fail, quarantine},
	{"RFC 5322 3.4.1", "address literal", "", "a@[192.0.2.99]", "", "", Fail, quarantine},
	{"RFC 5322 3.4.1", "two addresses without a comma", "bank.example=p=reject", "<a@bank.example> <a@evil.example>", "", "evil.example", Fail, quarantine},
	{"RFC 5322 3.4.1", "two at signs", "evil.example=p=none", "a@bank.example@evil.example", "", "evil.example", Fail, quarantine},
	{"RFC 5322 2.2", "NUL", "bank.example=p=reject", "a@bank.example\x00@evil.example", "", "evil.example", Fail, quarantine},
	{"RFC 5322 2.2", "NUL in the local part", "bank.example=p=reject", "a\x00b@bank.example", "", "bank.example", Fail, reject},
	{"RFC 5322 3.4.1", "quotes that do not end", "bank.example=p=reject", `"a@bank.example <a@evil.example>`, "", "evil.example", Fail, quarantine},
	{"RFC 5322 3.4.1", "empty label", "bank.example=p=reject", "a@bank..example", "", "", Fail, quarantine},
	{"RFC 5322 3.4.1", "invalid UTF-8", "", "a@b\xffnk.example", "", "", Fail, quarantine},
	{"RFC 5322 3.4.1", "encoded-word as the domain", "bank.example=p=reject", "a@=?utf-8?q?bank.example?=", "", "", Fail, quarantine},
	{"5.3.1", "eleven domains", "bank.example=p=reject", "a@1.x, a@2.x, a@3.x, a@4.x, a@5.x, a@6.x, a@7.x, a@8.x, a@9.x, a@10.x, a@bank.example", "", "", Fail, quarantine},

	// Trouble.
	{"4.10.1", "policy cannot be looked up", "!_dmarc.bank.example", "a@bank.example", "", "", TempError, none},
	{"4.10.1", "organization's cannot be looked up", "!_dmarc.bank.example", "a@a.bank.example", "", "", TempError, none},
	{"4.10.1", "suffix's cannot be looked up, own can", "bank.example=p=reject|!_dmarc.example", "a@bank.example", "", "bank.example", Pass, none},
	{"5.3.5", "SPF cannot be looked up", "bank.example=p=reject|!bank.example", "a@bank.example", "bank.example", "", TempError, none},
	{"5.3.5", "SPF cannot be looked up, DKIM passes", "bank.example=p=reject|!bank.example", "a@bank.example", "bank.example", "bank.example", Pass, none},
	{"5.3.5", "SPF of another cannot be looked up", "bank.example=p=reject|!evil.example", "a@bank.example", "evil.example", "", Fail, reject},
	{"5.3.5", "key cannot be looked up", "bank.example=p=reject|!s._domainkey.bank.example", "a@bank.example", "", "bank.example", TempError, none},
	{"5.3.5", "key cannot be looked up, SPF passes", "bank.example=p=reject|!s._domainkey.bank.example", "a@bank.example", "bank.example", "bank.example", Pass, none},
	{"5.3.5", "key of another cannot be looked up", "bank.example=p=reject|!s._domainkey.evil.example", "a@bank.example", "", "evil.example", Fail, reject},
	{"5.3.5", "key in strict mode, of a subdomain", "bank.example=p=reject; adkim=s|!s._domainkey.a.bank.example", "a@bank.example", "", "a.bank.example", Fail, reject},
	{"5.3.5", "strict mode needs no suffix", "bank.example=p=reject; adkim=s|!_dmarc.example", "a@bank.example", "", "a.bank.example", Fail, reject},
	{"5.3.5", "relaxed mode does", "bank.example=p=reject|!_dmarc.example", "a@bank.example", "", "a.bank.example", TempError, none},
	{"5.3.5", "organization cannot be found out", "a.bank.example=p=reject|!_dmarc.bank.example", "a@a.bank.example", "", "bank.example", TempError, none},
	{"5.3.5", "organization cannot be found out, and does not matter", "a.bank.example=p=reject|!_dmarc.bank.example", "a@a.bank.example", "a.bank.example", "bank.example", Pass, none},
	{"5.3.5", "alignment cannot be found out", "bank.example=p=reject|!_dmarc.a.bank.example", "a@bank.example", "", "a.bank.example", TempError, none},
}

func TestDMARC(t *testing.T) {
	if len(dmarcCases) < 150 {
		t.Errorf("only %d cases", len(dmarcCases))
	}
	key := newKey(t, Ed25519, "", "s")
	seen := map[string]bool{}
	for _, test := range dmarcCases {
		if seen[test.name] {
			t.Errorf("%s is there twice", test.name)
		}
		seen[test.name] = true
		t.Run(test.name, func(t *testing.T) {
			got := test.run(t, key)
			if got.Result != test.want || got.Disposition != test.then {
				t.Errorf("section %s: got %+v, want %s and %s", test.section, got, test.want, test.then)
			}
		})
	}
}

// run checks the message of the case as it would come in.
func (test dmarcCase) run(t *testing.T, key Key) DMARC {
	text := "From: " + test.from + "\nSubject: hello\n\nhello\n"
	if strings.Contains(test.from, "\n") && !strings.Contains(test.from, "\n ") {
		text = test.from + "\nSubject: hello\n\nhello\n"
	}
	zone, failing := test.parseZone()
	peer := stranger
	domain, ascii := strings.Trim(test.spf, "~<>"), ""
	if domain != "" {
		ascii, _ = asciiDomain(domain)
		all := map[bool]string{true: "~all", false: "ip4:192.0.2.99 -all"}[strings.HasPrefix(test.spf, "~")]
		zone += zoneTXT(ascii, "v=spf1 "+all)
		peer.MailFrom = "bounce@" + domain
	}
	if strings.HasPrefix(test.spf, "<>") {
		peer.MailFrom, peer.Helo = "", domain
	}
	signed := text
	for _, domain := range strings.Fields(test.dkim) {
		key.Domain = strings.TrimPrefix(domain, "-")
		ascii, _ := asciiDomain(key.Domain)
		record, err := key.Record()
		if err != nil {
			t.Fatal(err)
		}
		if line := zoneTXT("s._domainkey."+ascii, record); !strings.Contains(zone, line) {
			zone += line
		}
		body := map[bool]string{true: "another", false: whole}[strings.HasPrefix(domain, "-")]
		one := forge(t, key, text, fmt.Sprintf("v=1; a=ed25519-sha256; c=relaxed/relaxed; d=%s; s=s; h=from", key.Domain), body)
		signed = strings.TrimSuffix(one, text) + signed
	}
	c, server := newChecker(t, zone)
	for _, name := range failing {
		server.Fail(name, dnstest.ServFail)
	}
	return check(t, c, peer, signed).DMARC
}

func (test dmarcCase) parseZone() (zone string, failing []string) {
	for entry := range strings.SplitSeq(test.zone, "|") {
		domain, text, isText := strings.Cut(entry, ":=")
		if !isText {
			domain, text, _ = strings.Cut(entry, "=")
			text = "v=DMARC1; " + text
		}
		switch {
		case entry == "":
		case entry[0] == '@':
			zone += entry[1:] + ". A 192.0.2.7\n"
		case entry[0] == '!':
			failing = append(failing, entry[1:])
		default:
			zone += zoneTXT("_dmarc."+domain, text)
		}
	}
	return zone, failing
}

// TestDMARCSample draws as many messages as a policy for half of them needs to
// show both of its sides.
func TestDMARCSample(t *testing.T) {
	r, _ := parseDMARC("v=DMARC1; p=reject; pct=50")
	for draw, want := range map[int]Disposition{0: reject, 49: reject, 50: quarantine, 99: quarantine} {
		if got := r.milden(reject, draw); got != want {
			t.Errorf("%d: got %s, want %s", draw, got, want)
		}
	}
}

// TestDMARCWalkIsBounded has a name of very many labels.
func TestDMARCWalkIsBounded(t *testing.T) {
	c, server := newChecker(t, "")
	name := strings.Repeat("x.", 100) + "bank.example"
	if _, err := c.walk(ctx, name); err != nil {
		t.Fatal(err)
	}
	queries := 0
	for n := name; n != ""; {
		queries += server.Queries("_dmarc." + n)
		_, n, _ = strings.Cut(n, ".")
	}
	if queries != 8 {
		t.Errorf("asked %d times, want 8 (RFC 9989 section 4.10)", queries)
	}
}

// TestDMARCDetails checks what is reported besides the result.
func TestDMARCDetails(t *testing.T) {
	key := newKey(t, Ed25519, "mail.bank.example", "s")
	c, _ := newChecker(t, published(t, key)+zoneTXT("_dmarc.bank.example", "v=DMARC1; p=quarantine; sp=reject")+
		zoneTXT("bounce.bank.example", "v=spf1 ip4:192.0.2.99 -all")+"news.bank.example. A 192.0.2.7\n")
	peer := stranger
	peer.MailFrom = "x@bounce.bank.example"
	text := "From: a@news.bank.example\n\nhello\n"
	got := check(t, c, peer, sign(t, text, key)).DMARC
	want := DMARC{
		Result: Pass, Domain: "news.bank.example", Organization: "bank.example", Record: "bank.example",
		Policy: reject, SPFAligned: true, DKIMAligned: "mail.bank.example",
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if p := c.findPolicy(ctx, "mail.bank.example"); p.organization != "bank.example" || p.wants != reject {
		t.Errorf("got %+v", p)
	}
	suffix, _ := newChecker(t, zoneTXT("_dmarc.gov.example", "v=DMARC1; p=reject; psd=y"))
	if p := suffix.findPolicy(ctx, "gov.example"); p.organization != "gov.example" || p.wants != reject {
		t.Errorf("got %+v", p)
	}
	if field := string(check(t, c, stranger, text).Field()); !strings.Contains(field, "dmarc=fail header.from=news.bank.example (p=reject dis=reject)") {
		t.Errorf("got %s", field)
	}
}

func FuzzParseDMARC(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; aspf=r; psd=y; t=y; pct=5; rua=mailto:a@b")
	f.Fuzz(func(t *testing.T, txt string) {
		r, ok := parseDMARC(txt)
		if ok && (r.percent < 0 || r.percent > 100 || r.policy > reject || r.psd == 0) {
			t.Errorf("%q: %+v", txt, r)
		}
		if ok && r.broken && r.policy|r.subdomains|r.missing != none {
			t.Errorf("%q is broken and wants %+v", txt, r)
		}
	})
}
