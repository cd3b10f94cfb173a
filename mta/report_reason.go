package mta

import (
	"regexp"
	"slices"
	"strings"
)

// A reason says in plain words why a message did not get to a recipient, and
// what its sender can do where it never will.
type reason struct {
	of     string         // subjects and details of a status (RFC 3463, RFC 7372), subjects alone, or stages
	words  *regexp.Regexp // of hosts whose status says little; nil: none
	why    string
	remedy string
}

const (
	tellOwner     = "That is not about what you wrote. Tell the person who runs this server: its documentation says what can be done about it."
	tellRecipient = "Tell the recipient in another way, and send the message again later."
)

// reasons are all that have a name. The first one whose words fit is it.
var reasons = []reason{
	{
		words:  regexp.MustCompile(`(?i)gr[ae]y-?list`),
		why:    "The recipient's server lets mail from senders that it does not know wait for a while (greylisting). That is usual.",
		remedy: tellRecipient,
	},
	{
		words:  regexp.MustCompile(`(?i)(block|black|deny) ?list|\b(dns|r)bl\b|\bdnsbl|spamhaus|barracuda|spamcop|\bS3140\b|\bS3150\b|banned sending ip|reputation|blocked using`),
		why:    "The recipient's server takes no mail from this server, because the internet address (IP) of this server has a bad name with it or is on a blocklist.",
		remedy: tellOwner,
	},
	{
		of:     "7.25",
		words:  regexp.MustCompile(`(?i)reverse (dns|host)|\bptr\b|rdns|helo|ehlo`),
		why:    "The recipient's server takes no mail from this server, because the name of this server in the directory of the internet (DNS) is not right.",
		remedy: tellOwner,
	},
	{
		of:     "7.20 7.21 7.22 7.23 7.24 7.26 7.29",
		words:  regexp.MustCompile(`(?i)\bspf\b|\bdkim\b|\bdmarc\b|unauthenticated`),
		why:    "The recipient's server does not believe that the message is from you: a check of the sender's domain (SPF, DKIM or DMARC) failed.",
		remedy: tellOwner,
	},
	{
		of:     "4.5 7.28",
		words:  regexp.MustCompile(`(?i)rate ?limit|too (many|much)|unusual (rate|volume|traffic)|unexpected volume`),
		why:    "The recipient's server takes only so much mail at a time.",
		remedy: tellRecipient,
	},
	{
		words:  regexp.MustCompile(`(?i)\bspam|unsolicited|\bjunk`),
		why:    "The recipient's server takes your message for spam.",
		remedy: "Send it in other words, with fewer links and without attachments, or ask the recipient in another way to let you through.",
	},
	{
		words:  regexp.MustCompile(`(?i)relay(ing)?( access)?( is)? (denied|not|prohibited)|(permitted|allowed|able) to relay|not relay`),
		why:    "The server that should take the recipient's mail says that it does not: it does not know the domain.",
		remedy: "Look whether the address is spelt right. If it is, the recipient's domain is not set up right: tell the recipient in another way.",
	},
	{
		of:     "2.2",
		words:  regexp.MustCompile(`(?i)quota|(mailbox|inbox) (is )?full|out of storage`),
		why:    "The recipient's mailbox is full.",
		remedy: tellRecipient,
	},
	{
		of:     "2.3 3.4",
		words:  regexp.MustCompile(`(?i)too (large|big)|size limit|exceeds.*size`),
		why:    "The message is larger than the recipient's server takes.",
		remedy: "Send it without attachments or with smaller ones, or put them where the recipient can fetch them.",
	},
	{
		of:     "1.1 1.4",
		words:  regexp.MustCompile(`(?i)no such|(user|recipient|address|mailbox|account) (is )?(unknown|not found|unavailable|invalid)|(unknown|invalid) (user|recipient|address|mailbox|account)|does ?n[o']t exist|no mailbox`),
		why:    "There is no mailbox with this address.",
		remedy: "Look whether it is spelt right. If it is, ask the recipient in another way: the mailbox may have been closed.",
	},
	{
		of:     "1.2",
		why:    "The domain of this address, the part behind the @, does not exist or takes no mail.",
		remedy: "Look whether it is spelt right.",
	},
	{
		of:     "1.10",
		why:    "The domain of this address, the part behind the @, says that it takes no mail at all.",
		remedy: "Look whether it is spelt right, or ask the recipient for another address.",
	},
	{
		of:     "1.3",
		why:    "Mail cannot be sent to an address that is written like this.",
		remedy: "Look whether it is spelt right.",
	},
	{
		of:     "1.6",
		why:    "The recipient has moved, and left no new address.",
		remedy: "Ask the recipient in another way for the new address.",
	},
	{
		of:     "1.7 1.8 7.27 mail",
		why:    "The recipient's server does not take mail from your address.",
		remedy: "Look whether your own address is set up right in your mail program, or send from another address.",
	},
	{
		of:     "2.1 2",
		why:    "The mailbox exists, but takes no mail at present.",
		remedy: tellRecipient,
	},
	{
		of:     "3.1 3.2 3",
		why:    "The recipient's server has trouble of its own, and takes no mail at present.",
		remedy: tellRecipient,
	},
	{
		of:     "4.1 4.7 4",
		why:    "The recipient's server cannot be reached.",
		remedy: "It may be broken or switched off. " + tellRecipient,
	},
	{
		of:     "4.2",
		why:    "The connection to the recipient's server broke off.",
		remedy: tellRecipient,
	},
	{
		of:     "4.3",
		why:    "This server cannot find out which server takes the recipient's mail: the directory of the internet (DNS) gives no answer.",
		remedy: "The recipient's domain may be out of order. " + tellRecipient,
	},
	{
		of:     "4.4",
		why:    "The recipient's domain names no mail server that can be used.",
		remedy: "It is not set up right. Tell the recipient in another way.",
	},
	{
		of:     "4.6",
		why:    "The message would go in circles between mail servers.",
		remedy: "That is not about what you wrote: the recipient's address or domain is not set up right. Tell the recipient in another way.",
	},
	{
		of:     "5.3",
		why:    "The message has more recipients than the recipient's server takes at a time.",
		remedy: "Send it to fewer at a time.",
	},
	{
		of:     "6.3",
		why:    "The recipient's server is too old for the letters in your message (8BITMIME), and this server never changes a message.",
		remedy: "Send it as plain English text, or ask the recipient for another address.",
	},
	{
		of:     "6.7 6.8 6.9 6.10",
		why:    "The recipient's server is too old for international mail (SMTPUTF8): it takes only plain Latin letters in addresses and headers.",
		remedy: "Send from and to addresses in plain Latin letters, or ask the recipient for another address.",
	},
	{
		of:     "6",
		why:    "The recipient's server does not take what the message holds.",
		remedy: "An attachment may be of a kind that is not allowed there. Send the message without it.",
	},
	{
		of:     "7",
		why:    "The rules of the recipient's server do not let this message in.",
		remedy: "Its own words, below, may say why. Send the message in other words or without attachments and links, or ask the recipient in another way to let you through.",
	},
	{
		of:     "7.2",
		why:    "Only certain people may write to this address.",
		remedy: "Ask the recipient in another way to let you through.",
	},
	{
		of:     "7.4 7.10 7.30",
		why:    "The message may only travel encrypted (REQUIRETLS), and the next mail server does not offer that.",
		remedy: "If the message need not be secret, send it again without that demand; or ask the recipient for another address.",
	},
	{
		of:     "7.5",
		why:    "No encrypted connection to the recipient's server could be made.",
		remedy: tellRecipient,
	},
	{
		of:     "3.5 route",
		why:    "This server is not set up right for sending mail there.",
		remedy: tellOwner,
	},
	{
		of:     "5",
		why:    "This server and the recipient's did not understand each other.",
		remedy: tellOwner,
	},
	{
		of:     "greeting ehlo connect",
		why:    "The recipient's server takes no mail from this server.",
		remedy: tellOwner,
	},
	{
		of:     "1 rcpt",
		why:    "The recipient's server does not take mail for this address.",
		remedy: "Look whether the address is spelt right. If it is, the words of the server, below, may say why.",
	},
}

var (
	refused = reason{
		why:    "The recipient's server did not take the message.",
		remedy: "Its own words, below, may say why. If they do not help you, show them to the person who runs this server.",
	}
	neverTried = reason{
		why:    "It could not be sent.",
		remedy: "Send it again, or ask the person who runs this server.",
	}
)

// reason tells why a recipient did not get the message.
func (f *Fate) reason() reason {
	if f.Failure == nil {
		return neverTried
	}
	return f.Failure.reason(f.status())
}

// reason goes by what is said most clearly: a detail that means one thing, the
// host's words, the subject, how far we got.
func (f *Failure) reason(status string) reason {
	if f.Stage == "auth" {
		status = "4.3.5" // whatever the host says of it, it is our login
	}
	detail := status[2:]
	subject, _, _ := strings.Cut(detail, ".")
	_, known := reasonOf(detail)
	if f.Remote && (!known || detail == "7.1") {
		i := slices.IndexFunc(reasons, func(r reason) bool { return r.words != nil && r.words.MatchString(f.Reply) })
		if i >= 0 {
			return reasons[i]
		}
	}
	for _, key := range []string{detail, subject, f.Stage} {
		if r, ok := reasonOf(key); ok {
			return r
		}
	}
	return refused
}

// reasonOf finds the reason of a detail, a subject or a stage.
func reasonOf(key string) (reason, bool) {
	i := slices.IndexFunc(reasons, func(r reason) bool { return slices.Contains(strings.Fields(r.of), key) })
	if i < 0 {
		return reason{}, false
	}
	return reasons[i], true
}
