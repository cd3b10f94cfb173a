package admin

// A TransferReport says what came in or went out.
type TransferReport struct {
	Address   string             `json:"address"` // of the user
	Mailboxes []*MailboxTransfer `json:"mailboxes"`
	Failed    []FailedMessage    `json:"failed"` // what was left out
	Lost      []FailedMessage    `json:"lost"`   // what something lacks that was moved
}

func newReport(address string) TransferReport {
	return TransferReport{Address: address, Mailboxes: []*MailboxTransfer{}, Failed: []FailedMessage{}, Lost: []FailedMessage{}}
}

// A MailboxTransfer is what became of one mailbox.
type MailboxTransfer struct {
	Source string `json:"source"` // its name there
	Name   string `json:"name"`   // its name here
	Found  int64  `json:"found"`  // messages
	Bytes  int64  `json:"bytes"`  // of those that were found
	Added  int64  `json:"added"`
	There  int64  `json:"there"` // were there already
	Failed int64  `json:"failed"`
}

// A FailedMessage is one that could not be moved, or not with all that it has.
type FailedMessage struct {
	Mailbox string `json:"mailbox"` // its name at the source
	Place   string `json:"place"`
	Reason  string `json:"reason"`
	Kept    string `json:"kept,omitempty"` // the file that has what there is of it
}

// Progress tells how far a transfer is. What is not known beforehand is 0.
type Progress struct {
	Mailbox               string
	Messages, Bytes       int64
	AllMessages, AllBytes int64
}
